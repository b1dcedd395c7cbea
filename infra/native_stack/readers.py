"""The dashboard's user of MinIO, who may list and read buckets, and nothing else.

See: https://docs.min.io/community/minio-object-store/administration/identity-access-management.html
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from infra.native_stack.errors import StackError

POLICY_NAME = "read-the-lake"
STARTING_SECONDS = 60.0


READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
            "Resource": ["arn:aws:s3:::*"],
        },
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::*/*"]},
    ],
}


def add_reader(variables: Mapping[str, str]) -> None:
    """Create the user of `DASHBOARD_ACCESS_KEY_ID` in a MinIO that answers; again changes nothing.

    A MinIO that has just started reads its policies and users meanwhile, and may forget a new one
    until it has: then they are added again.

    `variables`: those of `stack.env`. Raises StackError if MinIO refuses.
    """
    from minio.error import MinioAdminException
    from urllib3.exceptions import HTTPError

    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return _add_reader(variables)
        except (MinioAdminException, HTTPError, OSError) as error:
            starting = "NoSuch" in str(error) or "NotInitialized" in str(error)
            if not starting or time.monotonic() >= deadline:
                raise StackError(f"MinIO does not take the dashboard's user: {error}") from None
            time.sleep(0.5)


def _add_reader(variables: Mapping[str, str]) -> None:
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider
    from urllib3 import PoolManager, Retry, Timeout

    keys = StaticProvider(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    endpoint = urlsplit(variables["S3_ENDPOINT"])
    admin = MinioAdmin(
        endpoint=endpoint.netloc,
        credentials=keys,
        secure=endpoint.scheme == "https",
        http_client=PoolManager(
            ca_certs=variables.get("SERVICES_CA_FILE"),
            timeout=Timeout(connect=5, read=30),
            retries=Retry(total=3, backoff_factor=0.2),
        ),
    )
    user = variables["DASHBOARD_ACCESS_KEY_ID"]
    with TemporaryDirectory() as directory:
        policy = Path(directory, "policy.json")
        policy.write_text(json.dumps(READ_ONLY))
        admin.policy_add(POLICY_NAME, policy)
    admin.user_add(user, variables["DASHBOARD_SECRET_ACCESS_KEY"])
    admin.policy_set(POLICY_NAME, user=user)
