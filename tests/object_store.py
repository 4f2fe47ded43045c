"""A store that speaks S3, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

NAMES = dict(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")


@contextmanager
def object_store(objects: Mapping[str, bytes]) -> Iterator[dict]:
    """Serve objects in the bucket ``films`` until the block ends; yield backend_args. Skip without moto."""
    server = pytest.importorskip("moto.server")
    import boto3

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    before = {key: os.environ.get(key) for key in NAMES}
    running.start()
    os.environ.update(NAMES)
    try:
        args = dict(endpoint_url="http://{}:{}".format(*running.get_host_and_port()), region_name="us-east-1")
        client = boto3.client("s3", **args)
        client.create_bucket(Bucket="films")
        for key, data in objects.items():
            client.put_object(Bucket="films", Key=key, Body=data)
        yield args
        for key in objects:
            client.delete_object(Bucket="films", Key=key)
        client.delete_bucket(Bucket="films")  # moto's stores outlive its servers
    finally:
        running.stop()
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
