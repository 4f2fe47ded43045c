"""Parts of files on disk, from a web server, and from a store that speaks S3."""

from __future__ import annotations

import builtins
import pickle
import socket
import threading
import time

import pytest
from mmengine.fileio.backends.registry_utils import prefix_to_backends

from mmlandmark.testing.range_server import serving
from mmlandmark.utils import file_backends
from mmlandmark.utils.file_backends import (
    CutOffError,
    HTTPRangeBackend,
    open_backend,
    read_bounded,
    read_range,
)
from object_store import object_store

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "a b.bin").write_bytes(CONTENT)
    monkeypatch.setattr(file_backends, "_PAUSE", 0.01)
    return tmp_path


@pytest.fixture
def web(folder):
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def store():
    """backend_args of a store on this machine."""
    with object_store({"deep/a b.bin": CONTENT}) as args:
        yield args


def check_parts(uri, **args):
    backend = open_backend(uri, args)
    assert read_range(backend, uri, 0, 10) == (CONTENT[:10], len(CONTENT))
    assert read_range(backend, uri, 1000, 500) == (CONTENT[1000:1500], len(CONTENT))
    assert read_range(backend, uri, len(CONTENT) - 5, 500) == (CONTENT[-5:], len(CONTENT))
    assert read_bounded(backend, uri, len(CONTENT)) == CONTENT
    assert read_range(pickle.loads(pickle.dumps(backend)), uri, 3, 1)[0] == CONTENT[3:4]
    with pytest.raises(CutOffError, match=f"is cut off: it ends before byte {len(CONTENT)}"):
        read_range(backend, uri, len(CONTENT), 1)
    with pytest.raises(ValueError, match="has 25,600 bytes, more than the 100 that are allowed"):
        read_bounded(backend, uri, 100)
    with pytest.raises(FileNotFoundError):
        read_range(backend, uri + "x", 0, 1)


def test_parts_come_from_a_disk(folder):
    check_parts(str(folder / "a b.bin"))


def test_parts_come_from_a_web_server(web):
    check_parts(f"{web.url}/a%20b.bin")
    assert max(last - first + 1 for _, first, last in web.asked) <= 2**24


def test_parts_come_from_a_store(store):
    check_parts("s3://films/deep/a b.bin", **store)


def test_a_store_without_the_bucket_or_behind_a_wrong_address(store, folder):
    with pytest.raises(FileNotFoundError, match="s3://other/a does not exist: the server answers 404"):
        open_backend("s3://other/a", store).get("s3://other/a")
    with socket.create_server(("127.0.0.1", 0)) as server:
        args = dict(store, endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}")
    with pytest.raises(OSError, match=r"s3://films/a: the store does not answer .* in 2 tries"):
        open_backend("s3://films/a", dict(args, tries=2)).get("s3://films/a")


def test_backends_of_mmengine_and_of_others_read_whole_files(web):
    uri = f"{web.url}/a%20b.bin"
    backend = open_backend(uri, dict(backend="http"))
    assert not isinstance(backend, HTTPRangeBackend)
    assert read_range(backend, uri, 1000, 500) == (CONTENT[1000:1500], len(CONTENT))
    own = open_backend(uri)
    assert isinstance(own, HTTPRangeBackend)
    assert own.get(uri) == CONTENT


def test_addresses_mean_to_others_what_they_meant(web):
    before = dict(prefix_to_backends)
    open_backend(web.url)
    assert prefix_to_backends == before


@pytest.mark.parametrize(
    ("uri", "args", "message"),
    [
        ("a", dict(backend="petral"), "there is no file backend 'petral'; known are"),
        ("ftp://a/b", dict(), "there is no file backend for ftp://"),
        ("http://a/b", dict(silense=3), "backend_args of http://a/b do not fit its backend: .*silense"),
        ("http://a/b", dict(tries=0), "silence and tries must be positive"),
        ("http://a/b", dict(silence=0), "silence and tries must be positive"),
    ],
)
def test_arguments_that_do_not_fit_are_named(uri, args, message):
    with pytest.raises(ValueError, match=message):
        open_backend(uri, args)


def test_without_boto3_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "boto3":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'mmlandmark\[s3\]'"):
        open_backend("s3://a/b")


# ---- servers that answer badly ----------------------------------------------------------------------


@pytest.fixture
def answering(folder):
    """Return a function that starts a server with one answer per connection; None keeps silent."""
    opened = []

    def start(*answers):
        server = socket.create_server(("127.0.0.1", 0))
        opened.append(server)

        def serve():
            for answer in answers:
                connection, _ = server.accept()
                opened.append(connection)
                connection.recv(2**16)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/a"

    yield start
    for one in opened:
        one.close()


def part(said="bytes 0-9/20", body=CONTENT[:10], code=206):
    return f"HTTP/1.1 {code} x\r\nContent-Range: {said}\r\nContent-Length: 10\r\n\r\n".encode() + body


def read(uri, **args):
    return read_range(open_backend(uri, dict(silence=0.2, **args)), uri, 0, 10)


def test_a_server_is_asked_again(answering):
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    assert read(answering(busy, None, part())) == (CONTENT[:10], 20)


def test_who_reads_from_a_slow_server_shows_that_it_works(answering, monkeypatch):
    signs = []
    monkeypatch.setattr(file_backends, "sign_of_work", lambda: signs.append(1))
    monkeypatch.setattr(file_backends, "_READ", 4)
    assert read(answering(part())) == (CONTENT[:10], 20)
    assert len(signs) == 3, "of ten bytes, four at a time"
    signs.clear()
    assert read(answering(None, part())) == (CONTENT[:10], 20)
    assert len(signs) == 4, "another try is one as well"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the server has sent nothing for 0.2 s, in 2 tries"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "the server answers 503 Busy, in 2 tries"),
        (b"what?\r\n\r\n", "the server's answer is broken"),
        (part(body=b"abc"), "in 2 tries"),
        (part("bytes 5-14/20"), "answers with the range 'bytes 5-14/20' in place of 0"),
        (part("none"), "answers with the range 'none' in place of 0"),
    ],
)
def test_a_server_that_goes_on_answering_badly_is_given_up(answering, answer, message):
    start = time.monotonic()
    with pytest.raises(OSError, match=message):
        read(answering(answer, answer), tries=2)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (part(code=200), PermissionError, "the server does not support ranges"),
        (part(code=403), PermissionError, "the server answers 403"),
        (part(code=404), FileNotFoundError, "does not exist: the server answers 404"),
        (part(code=416), CutOffError, "is cut off: it ends before byte 0"),
    ],
)
def test_where_another_try_is_of_no_use_there_is_none(answering, answer, kind, message):
    with pytest.raises(kind, match=message):
        read(answering(answer))


def test_a_server_that_is_not_there_is_an_error(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match="the server cannot be reached"):
        read(f"http://127.0.0.1:{port}/a", tries=1)
