"""The bucket that the sink writes to and that every query reads from.

See: https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/s3.html
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as S3ConnectionError

from mastodon_pipeline.errors import ObjectStoreUnavailable, SettingsError
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 30


class S3Credentials(NamedTuple):
    """Keys for the object store; never to be logged."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return "S3Credentials(hidden)"


def s3_credentials(settings: Settings) -> S3Credentials:
    """The keys from the settings, else whatever AWS's own chain finds (profile, role, container).

    Raises SettingsError where there are none.
    """
    if settings.aws_access_key_id and settings.aws_secret_access_key:
        return S3Credentials(
            settings.aws_access_key_id.get_secret_value(),
            settings.aws_secret_access_key.get_secret_value(),
            None,
        )
    found = boto3.Session().get_credentials()
    if found is None:
        raise SettingsError(
            "no credentials for the object store: `make up` generates MinIO's, or set"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    keys = found.get_frozen_credentials()
    return S3Credentials(str(keys.access_key), str(keys.secret_key), keys.token)


def s3_client(settings: Settings) -> "S3Client":
    """A client of the object store in the settings, path style; the caller closes it.

    Raises SettingsError where there are no credentials.
    """
    keys = s3_credentials(settings)
    return boto3.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.aws_region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


@contextmanager
def object_store_errors(settings: Settings) -> Iterator[None]:
    """Turns boto3's errors into a ObjectStoreUnavailable that names the fix."""
    where = f"the object store at {settings.s3_endpoint}"
    try:
        yield
    except (S3ConnectionError, HTTPClientError):  # refused, unresolvable, timed out, no TLS
        raise ObjectStoreUnavailable(
            f"{where} does not answer: start it with `make up`, or set S3_ENDPOINT"
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch") or status in (401, 403):
            raise ObjectStoreUnavailable(
                f"{where} refuses the credentials: check AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY (the native stack keeps MinIO's in .data/stack.env)"
            ) from None
        raise ObjectStoreUnavailable(
            f"{where} refuses {error.operation_name} on bucket {settings.s3_bucket!r} ({code}):"
            " check S3_BUCKET"
        ) from error
    except ParamValidationError:
        raise SettingsError(f"S3_BUCKET {settings.s3_bucket!r} is not a bucket's name") from None
    except BotoCoreError as error:
        raise ObjectStoreUnavailable(f"{where} cannot be used: {error}") from error


def ensure_bucket(settings: Settings) -> bool:
    """Creates the bucket where it is missing, and says whether it had to.

    Raises ObjectStoreUnavailable where the object store is unreachable or refuses the credentials.
    """
    bucket = settings.s3_bucket
    with object_store_errors(settings), closing(s3_client(settings)) as s3:
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
        else:
            return False
        try:
            if settings.aws_region == "us-east-1":
                # The one region that must not be named: it is S3's default.
                s3.create_bucket(Bucket=bucket)
            else:
                s3.create_bucket(
                    Bucket=bucket,
                    CreateBucketConfiguration={"LocationConstraint": settings.aws_region},  # type: ignore[typeddict-item]
                )
        except s3.exceptions.BucketAlreadyOwnedByYou:
            return False  # somebody else created it between the two calls
    return True
