"""Downloads from a server of this process, which answers well, badly, or not at all."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import torch

from mmlandmark.utils import downloads
from mmlandmark.utils.checkpoint import fetch_checkpoint
from mmlandmark.utils.downloads import download

CONTENT = bytes(range(256)) * 5000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def serve():
    """Return what starts a server that sends some parts, and then closes or keeps the connection."""
    opened = []

    def start(*parts: bytes, close: bool = True) -> str:
        try:
            server = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            pytest.skip(f"no local socket can be opened: {error}")
        opened.append(server)

        def answer():
            connection, _ = server.accept()
            opened.append(connection)
            connection.recv(2**16)
            for part in parts:
                connection.sendall(part)
            if close:
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/net.pth"

    yield start
    for one in opened:
        one.close()


def test_a_file_is_downloaded(serve, tmp_path):
    download(serve(HEAD % len(CONTENT), CONTENT), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_may_keep_its_length_to_itself(serve, tmp_path):
    download(serve(b"HTTP/1.1 200 OK\r\n\r\n", CONTENT), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("parts", [(), (HEAD % len(CONTENT),), (HEAD % len(CONTENT), CONTENT[:1000])])
def test_a_silent_server_is_given_up(serve, tmp_path, parts):
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"^the server has sent nothing for 0\.3 s$"):
        download(serve(*parts, close=False), tmp_path / "a", silence=0.3)
    assert 0.3 <= time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((HEAD % 100, CONTENT[:10]), "the connection ended after 10 of 100 bytes"),
        ((b"HTTP/1.1 404 Not Found\r\n\r\n",), "the server answers 404 Not Found"),
        ((b"no HTTP at all\r\n\r\n",), "the server's answer is broken"),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",),
            "the server's answer is broken",
        ),
    ],
)
def test_what_else_may_happen(serve, tmp_path, parts, message):
    with pytest.raises(OSError, match=message):
        download(serve(*parts), tmp_path / "a")


def test_nobody_is_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=r"the server cannot be reached: .*refused"):
        download(f"http://127.0.0.1:{port}/net.pth", tmp_path / "a")


def test_weights_that_do_not_come_say_what_to_do(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE", 0.3)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        ValueError,
        match=r"net\.pth cannot be fetched: the server has sent nothing for 0\.3 s; put the file at ",
    ):
        fetch_checkpoint(serve(close=False))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
