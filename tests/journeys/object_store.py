"""An object store: moto's S3 server as a process, which checks signatures: a wrong secret is refused."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from tests.journeys.conftest import await_true
from tests.ports import free_port

BUCKET = "exports"
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}
# Calls that set up the user, before signatures count.
_FREE_CALLS = 3


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running one, with a bucket and a user who may write to it."""

    address: str
    environ: dict[str, str]
    client: Any

    def uri(self, folder: str) -> str:
        """Where a folder of the bucket is, as pyarrow wants to be told."""
        return f"s3://{BUCKET}/{folder}?endpoint_override={self.address}&scheme=http&region=us-east-1"

    def names(self, folder: str) -> list[str]:
        """The objects there."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}/")
        return [each["Key"].removeprefix(f"{folder}/") for each in found.get("Contents", ())]

    def read(self, folder: str, name: str) -> bytes:
        """One object."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=f"{folder}/{name}")["Body"].read())


@contextlib.contextmanager
def running_store(log: Path) -> Iterator[ObjectStore]:
    """Start it, and end it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environ = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(_FREE_CALLS)}
    with log.open("wb") as told:
        process = subprocess.Popen(command, env=environ, stdout=told, stderr=told)
    try:
        address = f"127.0.0.1:{port}"
        await_true(lambda: _is_there(address), "moto starts")
        yield _set_up(address)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_there(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/moto-api/", timeout=5).status_code < 500
    except httpx.HTTPError:
        return False


def _set_up(address: str) -> ObjectStore:
    iam = _client("iam", address, "anybody", "anything")
    iam.create_user(UserName="exporter")
    key = iam.create_access_key(UserName="exporter")["AccessKey"]
    iam.put_user_policy(UserName="exporter", PolicyName="all", PolicyDocument=json.dumps(_POLICY))
    key_id, secret = key["AccessKeyId"], key["SecretAccessKey"]
    client = _client("s3", address, key_id, secret)
    client.create_bucket(Bucket=BUCKET)
    return ObjectStore(address, {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}, client)


def _client(service: str, address: str, key_id: str, secret: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://{address}",
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )
