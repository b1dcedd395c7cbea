"""The bucket that the sink writes to and that every query reads from.

See: https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/s3.html
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as S3ConnectionError

from mastodon_pipeline.errors import BucketMissing, ObjectStoreUnavailable, SettingsError
from mastodon_pipeline.paths import stack_file
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.tls import certificate_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 30.0


class S3Credentials(NamedTuple):
    """Keys for the object store; never to be logged."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return "S3Credentials(hidden)"


def s3_credentials(settings: Settings) -> S3Credentials:
    """Return the keys from the settings, else from AWS's own chain (profile, role, container).

    Raises SettingsError if there are none.
    """
    if settings.aws_access_key_id and settings.aws_secret_access_key:
        return S3Credentials(
            settings.aws_access_key_id.get_secret_value(),
            settings.aws_secret_access_key.get_secret_value(),
            None,
        )
    if settings.aws_access_key_id or settings.aws_secret_access_key:
        raise SettingsError("one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set alone")
    import boto3  # takes a quarter of a second, and is needed only without keys in the settings

    try:
        credentials = boto3.Session().get_credentials()
    except BotoCoreError as error:  # a profile that does not exist, half a pair of keys
        raise SettingsError(
            f"no credentials for the object store from AWS's chain: {error}"
        ) from None
    if credentials is None:
        raise SettingsError(
            "no credentials for the object store: `make up` generates MinIO's, or set"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    keys = credentials.get_frozen_credentials()
    return S3Credentials(str(keys.access_key), str(keys.secret_key), keys.token)


def s3_client(settings: Settings) -> "S3Client":
    """Return a client of the object store in the settings, path style; the caller closes it.

    Closing ends idle connections only: the next caller with the same settings gets this client
    again. To make one takes 60 to 120 ms of CPU.

    Raises SettingsError if there are no credentials.
    """
    ca_file = str(settings.services_ca_file) if settings.services_ca_file else None
    return _client(settings.s3_endpoint, settings.aws_region, s3_credentials(settings), ca_file)


@lru_cache(maxsize=4)
def _client(endpoint: str, region: str, keys: S3Credentials, ca_file: str | None) -> "S3Client":
    import boto3
    from botocore.config import Config

    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        # None: boto3's own way, which is AWS_CA_BUNDLE, else the system's authorities.
        verify=ca_file,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


@contextmanager
def object_store_errors(settings: Settings) -> Iterator[None]:
    """Turn boto3's errors into ObjectStoreUnavailable or SettingsError, which name the fix."""
    where = f"the object store at {settings.s3_endpoint}"
    try:
        yield
    except (S3ConnectionError, HTTPClientError) as error:  # refused, unresolvable, timed out, TLS
        if problem := certificate_problem(error):
            raise ObjectStoreUnavailable(f"{where} cannot be trusted: {problem}") from None
        raise ObjectStoreUnavailable(
            f"{where} does not answer: start it with `make up`, or set S3_ENDPOINT"
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch") or status in (401, 403):
            raise ObjectStoreUnavailable(
                f"{where} refuses the credentials: check AWS_ACCESS_KEY_ID and"
                f" AWS_SECRET_ACCESS_KEY (the native stack keeps MinIO's in {stack_file()})"
            ) from None
        if code == "NoSuchBucket":
            raise BucketMissing(
                f"{where} has no bucket {settings.s3_bucket!r} yet: the job kafka_connect_config"
                " creates it; or check S3_BUCKET"
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
    """Create the bucket if it is missing; return whether it was.

    Raises ObjectStoreUnavailable if the object store is unreachable or refuses the credentials.
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
            return False  # created by another process between the two calls
    return True
