"""What tests of every room use: native stacks, and a lake in a local directory.

With several workers, the process that distributes the tests imports this before it starts them, and
imports neither Dagster nor a stack: they are imported where they are used.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from mastodon_pipeline_tests.support.selection import leaves_out
from mastodon_pipeline_tests.support.signals import restore_default_signals
from mastodon_pipeline_tests.support.stack_environment import StackEnvironment, new_directory
from mastodon_pipeline_tests.support.workers import Scheduler

if TYPE_CHECKING:
    from infra.native_stack import Stack
    from mastodon_pipeline.lake.lake import Lake

STACKS = ("separate_stack", "stack")
"""The fixtures that yield stacks; the first of them that a test uses is its own."""
_environment = StackEnvironment()
_stack_directory = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Let tests interrupt their child processes, also under `make test &`, on a busy machine."""
    restore_default_signals()
    # Hypothesis fails an example that takes 200 ms; other processes may take that long for theirs.
    hypothesis.settings.register_profile("without deadlines", deadline=None)
    # Of `make test-unit`; `make test` draws as many as Hypothesis does by default.
    hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
    hypothesis.settings.load_profile(
        config.getoption("--hypothesis-profile") or "without deadlines"
    )
    from_controller = getattr(config, "workerinput", {}).get("stack_directory")
    config.stash[_stack_directory] = Path(from_controller) if from_controller else new_directory()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Name the session's stack to a worker."""
    node.workerinput["stack_directory"] = str(node.config.stash[_stack_directory])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler | None:
    """Distribute tests by our groups with `--dist loadscope`."""
    return Scheduler(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's stack, whether the tests passed or not."""
    directory = config.stash[_stack_directory]
    used = any(directory.parent.glob(f"{directory.name}*"))
    if used and not hasattr(config, "workerinput"):
        from mastodon_pipeline_tests.support.shared_stack import remove_shared_stack

        remove_shared_stack(directory)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search for garbage neither while modules are imported nor among them later.

    It takes a seventh of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules of which `-m` selects no test: a third of them for the quick tests."""
    is_module = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if is_module and leaves_out(config.getoption("markexpr"), collection_path.read_text()):
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a native stack as integration tests.

    Raises pytest.UsageError where one may damage its stack and is not marked so, since
    `make test-stacks` imports only modules that have such a mark.
    """
    for item in items:
        if stack := _stack_of(item):
            item.add_marker(pytest.mark.integration)
            if stack == "separate_stack" and not item.get_closest_marker("own_stack"):
                raise pytest.UsageError(f"mark {item.nodeid} as own_stack: it uses such a stack")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show a test the stack that it uses, and no other."""
    _environment.use(_stack_of(item))


def _stack_of(item: pytest.Item) -> str | None:
    used = getattr(item, "fixturenames", ())
    return next((name for name in STACKS if name in used), None)


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator["Stack"]:
    """The native stack that all workers of this session share.

    A test has topics, buckets and connectors of its own there, and kills no program.
    """
    from mastodon_pipeline_tests.support.shared_stack import shared_stack

    stack = shared_stack(pytestconfig.stash[_stack_directory])
    _environment.add("stack", stack)
    yield stack
    _environment.remove("stack")


@pytest.fixture(scope="session")
def separate_stack() -> Iterator["Stack"]:
    """A native stack that only this worker's tests use: they may stop and kill its programs."""
    from infra.native_stack import running_stack

    with running_stack() as stack:
        _environment.add("separate_stack", stack)
        yield stack
        _environment.remove("separate_stack")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator["Lake"]:
    """An empty lake in a local directory."""
    from mastodon_pipeline_tests.support.local_lake import local_lake

    with local_lake(tmp_path) as lake:
        yield lake
