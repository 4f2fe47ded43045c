"""A web server of this process that serves a folder, with ranges of bytes as object stores have them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class RangeServer(ThreadingHTTPServer):
    """Serves the files of a folder on the loopback interface.

    Args:
        folder: What is served.

    Attributes:
        asked: (path, first byte, last byte) of every request, in order; bytes are None without a range.
    """

    daemon_threads = True

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.asked = str(folder), list[tuple[str, int | None, int | None]]()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Address of the folder, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    server: RangeServer

    def __init__(self, request: Any, address: Any, server: RangeServer) -> None:
        super().__init__(request, address, server, directory=server.folder)

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(match[1]), int(match[2])) if match else (None, None)
        self.server.asked.append((self.path, first, last))
        path = Path(self.translate_path(self.path))
        if first is None or last is None or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        if first >= size:
            self.send_error(416)
            return
        last = min(last, size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            self.wfile.write(file.read(last - first + 1))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(folder: str | Path) -> Iterator[RangeServer]:
    """Serve a folder until the block ends."""
    with RangeServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
