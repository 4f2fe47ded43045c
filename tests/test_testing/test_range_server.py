"""The server answers as object stores do."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from mmlandmark.testing.range_server import serving


def test_files_and_ranges_are_served_and_noted(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    with serving(tmp_path) as server:
        assert urlopen(f"{server.url}/a.bin").read() == b"0123456789"
        with urlopen(Request(f"{server.url}/a.bin", headers={"Range": "bytes=3-99"})) as answer:
            assert (answer.status, answer.read()) == (206, b"3456789")
            assert answer.headers["Content-Range"] == "bytes 3-9/10"
        with pytest.raises(HTTPError, match="416"):
            urlopen(Request(f"{server.url}/a.bin", headers={"Range": "bytes=10-11"}))
        with pytest.raises(HTTPError, match="404"):
            urlopen(Request(f"{server.url}/b.bin", headers={"Range": "bytes=0-1"}))
    assert server.asked == [("/a.bin", None, None), ("/a.bin", 3, 99), ("/a.bin", 10, 11), ("/b.bin", 0, 1)]
