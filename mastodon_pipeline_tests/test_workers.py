"""How `make test` distributes the tests over its workers."""

from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline_tests.support.workers import GROUP_OF


def test_every_grouped_module_exists() -> None:
    """A renamed module would leave its group, and perhaps the stack that it may damage."""
    assert [module for module in GROUP_OF if not (REPOSITORY / module).is_file()] == []
