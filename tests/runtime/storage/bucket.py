"""A real S3 server over HTTP for tests: moto's, in this process, on a free port."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}
_numbers = count()


@contextmanager
def server(port: int = 0) -> Iterator[str]:
    """The endpoint of a server that runs; 0: on a free port. Another one in this process holds the same buckets."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def make_bucket(endpoint: str, name: str) -> str:
    """Make a bucket; the options of a URI that names it."""
    with urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=30):  # noqa: S310 - our own server
        return f"endpoint={endpoint}&region=us-east-1"


def new_bucket(endpoint: str) -> str:
    """The URI of an archive in a bucket of its own."""
    name = f"plant-{next(_numbers)}"
    return f"s3://{name}/archive/one?{make_bucket(endpoint, name)}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, server() as running:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def bucket(endpoint: str) -> str:
    return new_bucket(endpoint)
