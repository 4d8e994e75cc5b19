"""An S3-compatible server on this machine: moto's, in this process, with one empty bucket per caller."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "reader-and-writer",
    "AWS_SECRET_ACCESS_KEY": "s3-secret",
    "AWS_REGION": "eu-west-1",
}


@dataclass
class S3Server:
    """Started when made; `close` it."""

    _server: ThreadedMotoServer = field(init=False)
    _client: Any = field(init=False)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self._client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def new_bucket(self) -> str:
        """The name of an empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._client.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": KEYS["AWS_REGION"]}
        )
        return name

    def settings(self, bucket: str, prefix: str = "jobs") -> dict[str, str]:
        """The environment of a service that keeps its files in the bucket."""
        return KEYS | {"ARTIFACTS_URL": f"s3://{bucket}/{prefix}", "ARTIFACTS_ENDPOINT_URL": self.url}

    def keys(self, bucket: str) -> list[str]:
        """The names of everything in the bucket."""
        listing = self._client.list_objects_v2(Bucket=bucket)
        return [str(found["Key"]) for found in listing.get("Contents", [])]

    def presigned_put(self, bucket: str, key: str, content_type: str) -> str:
        """A URL that whoever has it may PUT one object to."""
        wanted = {"Bucket": bucket, "Key": key, "ContentType": content_type}
        return str(self._client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=3600))

    def get(self, bucket: str, key: str) -> tuple[str, bytes]:
        """The content type and the content of an object."""
        found = self._client.get_object(Bucket=bucket, Key=key)
        return str(found["ContentType"]), bytes(found["Body"].read())

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)

    def close(self) -> None:
        # Not waited for: it waits for clients that keep their connection.
        threading.Thread(target=self._server.stop, daemon=True).start()
