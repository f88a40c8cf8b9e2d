"""What every storage of an archive promises: a folder, and a bucket of a real S3 server."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import pyarrow as pa
import pytest

from pipeline.errors import Failed, Misconfigured, RefusedState
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.object_store import ObjectStore
from pipeline.runtime.storage.storage import Storage, no_step
from tests.runtime.storage.bucket import KEYS, bucket, endpoint, new_bucket, server

__all__ = ["bucket", "endpoint"]
DATA = b"0123456789" * 100


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "archive" if request.param == "folder" else request.getfixturevalue("bucket"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_new_location_is_empty(storage: Storage) -> None:
    assert not storage.exists()
    assert list(storage.names("flows")) == []
    assert storage.folders("_manifests") == []
    assert not storage.has("flows/x")
    storage.delete("flows/x")
    for ask in (storage.read, storage.sha256, storage.mapped, storage.written_s):
        with pytest.raises(FileNotFoundError):
            ask("flows/x")


def test_a_name_is_created_once(storage: Storage) -> None:
    assert storage.create("_manifests/p0/0000000000.json", DATA)
    assert not storage.create("_manifests/p0/0000000000.json", b"other")
    assert storage.read("_manifests/p0/0000000000.json") == DATA
    assert storage.exists()
    assert storage.folders("_manifests") == ["p0"]
    assert list(storage.names("_manifests")) == ["_manifests/p0/0000000000.json"]
    assert list(storage.read_many(["_manifests/p0/0000000000.json"] * 3)) == [DATA] * 3


@pytest.mark.slow
def test_a_data_file_is_never_taken_over(storage: Storage) -> None:
    steps: list[str] = []
    name = "flows/site=a/sensor=ü%20/f.parquet"
    for number, data in enumerate((DATA, DATA, b"other")):
        with storage.staged(f"_tmp/p0-0/{number}.parquet") as sink:
            sink.write(data)
        assert (sink.size, sink.digest.hexdigest()) == (len(data), sha256(data))
    storage.place("_tmp/p0-0/0.parquet", name, sha256(DATA), steps.append)
    storage.sync([name])
    assert steps == ["file written", "file placed"]
    storage.place("_tmp/p0-0/1.parquet", name, sha256(DATA), no_step)
    with pytest.raises(RefusedState, match="other content"):
        storage.place("_tmp/p0-0/2.parquet", name, sha256(b"other"), no_step)
    assert storage.read(name) == DATA
    storage.place("_tmp/p0-0/2.parquet", "flows/beside", sha256(b"other"), no_step)
    assert storage.read("flows/beside") == b"other"
    assert list(storage.names("_tmp")) == []
    assert storage.sha256(name) == sha256(DATA)
    assert abs(storage.written_s(name) - storage.written_s(name)) < 1
    with storage.open(name) as file:
        file.seek(7)
        assert file.read(5) == DATA[7:12]


def test_a_sink_knows_its_digest_and_is_mapped(storage: Storage) -> None:
    for content in (DATA, b"second"):
        with storage.sink("_open/p0/0000000001-0.arrow") as sink:
            for start in range(0, len(content), 64):
                sink.write(content[start : start + 64])
        assert (sink.size, sink.digest.hexdigest()) == (len(content), sha256(content))
        assert storage.mapped("_open/p0/0000000001-0.arrow").to_pybytes() == content
        assert open_storage(storage.uri).mapped("_open/p0/0000000001-0.arrow").to_pybytes() == content
    rows = storage.mapped("_open/p0/0000000001-0.arrow")
    storage.delete("_open/p0/0000000001-0.arrow")
    assert rows.to_pybytes() == b"second"
    assert not storage.has("_open/p0/0000000001-0.arrow")


def test_a_sink_that_fails_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(pa.ArrowInvalid), storage.sink("_open/p0/1-0.arrow") as sink:
        sink.write(b"half")
        raise pa.ArrowInvalid("no")
    assert not storage.has("_open/p0/1-0.arrow")


def test_folders_are_deleted_whole(storage: Storage) -> None:
    for name in ("_tmp/p0-1/0.parquet", "_tmp/p0-1/x/1.parquet", "_tmp/p0-10/0.parquet"):
        storage.create(name, DATA)
    storage.delete_folder("_tmp/p0-1")
    assert list(storage.names("_tmp")) == ["_tmp/p0-10/0.parquet"]


@pytest.mark.parametrize("uri", ["gs://b/x", "s3:///x", "s3://b/x?endpint=y", "ftp://x"])
def test_an_address_that_is_none(uri: str) -> None:
    with pytest.raises(Misconfigured, match="expected"):
        open_storage(uri)


def test_a_file_address(tmp_path: Path) -> None:
    assert open_storage(f"file://{tmp_path}").url("x") == str(tmp_path.resolve() / "x")


def test_no_bucket(endpoint: str) -> None:
    with pytest.raises(Failed, match="check the endpoint and the bucket"):
        open_storage(f"s3://no-such-bucket/x?endpoint={endpoint}&region=us-east-1").create("a", b"b")


@pytest.mark.slow
def test_no_server(endpoint: str) -> None:
    with pytest.raises(Failed, match="nothing was lost"):
        open_storage("s3://plant/x?endpoint=http://127.0.0.1:9&region=us-east-1").begin()


def test_our_own_write_whose_answer_was_lost_counts(bucket: str) -> None:
    store = open_storage(bucket)
    assert isinstance(store, ObjectStore)
    assert store.create("_manifests/p0/0000000000.json", b"mine")
    assert store.create("_manifests/p0/0000000000.json", b"mine")
    assert not store.create("_manifests/p0/0000000000.json", b"another's")


@pytest.mark.slow
def test_a_store_that_is_replaced_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with server() as first:
        bucket = new_bucket(first)
        open_storage(bucket).replace("a", DATA)
    back = Timer(3.0, lambda: entered.enter_context(server(int(first.rpartition(":")[2]))))
    with ExitStack() as entered:
        back.start()
        assert open_storage(bucket).read("a") == DATA
        back.join()
