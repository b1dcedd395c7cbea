"""Clients of the object store: made once for the same settings, whoever closes them."""

from contextlib import closing

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.settings import load_settings


def test_same_settings_get_the_same_client_again() -> None:
    keys = {"aws_access_key_id": "ann", "aws_secret_access_key": "secret-of-ann"}
    with closing(s3_client(load_settings(**keys))) as client:
        pass
    assert s3_client(load_settings(**keys)) is client


def test_other_keys_or_another_store_get_another_client() -> None:
    """What one may read, the other may not."""
    ann = load_settings(aws_access_key_id="ann", aws_secret_access_key="secret-of-ann")
    ben = load_settings(aws_access_key_id="ben", aws_secret_access_key="secret-of-ben")
    elsewhere = ann.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    assert len({id(s3_client(settings)) for settings in (ann, ben, elsewhere)}) == 3
