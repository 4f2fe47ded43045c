"""Nothing reaches for a network: no import, no training without a URL in its config, and no test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

from loopback import guard
from mmlandmark.engine import LandmarkRunner
from mmlandmark.testing import tiny_config

GUARD = """
import socket, sys

def refuse(*arguments, **_):
    raise SystemExit(f"a connection was asked for: {arguments[1:] or arguments}")

def connect(self, address, *_):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        refuse(self, address)
    return plain(self, address)

plain = socket.socket.connect
socket.socket.connect = socket.socket.connect_ex = connect
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
"""
IMPORTS = """
import importlib, pkgutil, mmlandmark
names = [m.name for m in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture
def no_network(monkeypatch):
    """Fail on any connection, and count the attempts."""
    tried = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise OSError(f"a connection was asked for: {arguments[1:]}")

    for owner, name in (
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
        (urllib.request, "urlopen"),
        (torch.hub, "download_url_to_file"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    return tried


def run(code):
    return subprocess.run([sys.executable, "-c", GUARD + code], capture_output=True, text=True)


def test_the_guard_sees_a_connection():
    done = run("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')")
    assert "a connection was asked for" in done.stderr
    assert done.returncode == 1


def test_importing_every_module_asks_for_no_connection():
    done = run(IMPORTS)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 300


def test_a_training_and_a_test_ask_for_no_connection(tmp_path, no_network):
    runner = LandmarkRunner.from_cfg(tiny_config(tmp_path, max_epochs=1))
    runner.train()
    config = tiny_config(tmp_path / "test", load_from=str(tmp_path / "epoch_1.pth"))
    assert "mre" in LandmarkRunner.from_cfg(config).test()
    assert no_network == []


def test_a_training_with_a_url_asks_for_one(tmp_path, no_network, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    config = tiny_config(tmp_path, max_epochs=1, load_from="https://example.org/weights.pth")
    with pytest.raises(ValueError, match=r"https://example\.org/weights\.pth cannot be fetched"):
        LandmarkRunner.from_cfg(config).train()
    assert len(no_network) == 1


FAR = "198.51.100.1"  # is nobody's


def udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", address)


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda: socket.create_connection((FAR, 80), timeout=5), f"{FAR}"),
        (lambda: socket.create_connection(("::ffff:198.51.100.1", 80), timeout=5), "::ffff:198.51.100.1"),
        (lambda: socket.socket().connect_ex((FAR, 80)), f"{FAR}:80"),
        (lambda: udp((FAR, 53)), f"{FAR}:53"),
        (lambda: socket.getaddrinfo("example.org", 80), "example.org"),
        (lambda: socket.gethostbyname("example.org"), "example.org"),
        (lambda: urllib.request.urlopen("https://example.org", timeout=5), "127.0.0.1:9"),
    ],
)
def test_a_test_that_asks_for_the_network_fails(ask, named):
    with pytest.raises(OSError, match="tests do not use the network"):
        ask()
    with pytest.raises(pytest.fail.Exception, match=f"this one asked for {named}"):
        guard.check()
    guard.check()


def test_a_test_reaches_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, port), timeout=5):
                server.accept()[0].close()


@pytest.mark.parametrize("program", ["python", "git"])
def test_a_process_that_a_test_starts_is_refused_at_once(program, tmp_path):
    words = dict(
        python=[sys.executable, "-c", f"import urllib.request\nurllib.request.urlopen('https://{FAR}/a')"],
        git=["git", "ls-remote", f"https://{FAR}/a.git"],
    )[program]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    begun = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode != 0
    assert "refused" in done.stderr or "connect to" in done.stderr, done.stderr
    assert time.monotonic() - begun < 60, "a connection to nobody takes minutes"
