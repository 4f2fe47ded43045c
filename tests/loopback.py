"""Connections of the tests do not leave this machine.

In the process of the tests every other connection is refused, and the test that asks for it fails. The
processes that tests start get a proxy in their environment where nothing listens: whatever asks for http,
https or s3 there (urllib, boto3, pip, git, curl) is refused at once.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

_NOWHERE = ("127.0.0.1", 9)
_HERE = "127.0.0.1,localhost,::1"
ENVIRONMENT = {
    **{
        name: "http://{}:{}".format(*_NOWHERE)
        for scheme in ("http", "https", "ftp", "all")
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    },
    "no_proxy": _HERE,
    "NO_PROXY": _HERE,
}


class Guard:
    """Refuses connections that leave this machine, and names that have to be asked for elsewhere.

    Attributes:
        tried: What was refused since :meth:`check`.
    """

    def __init__(self) -> None:
        self.tried: list[str] = []

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the functions of :mod:`socket` until the patch is undone."""
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, name, self._method(getattr(socket.socket, name), place))
        for name in ("getaddrinfo", "gethostbyname"):
            patch.setattr(socket, name, self._function(getattr(socket, name)))

    def check(self) -> None:
        """Fail the test that has tried."""
        tried, self.tried = self.tried, []
        if tried:
            pytest.fail(f"tests do not use the network, but this one asked for {', '.join(tried)}")

    def _method(self, plain: Any, place: int) -> Any:
        def method(sock: socket.socket, *arguments: Any) -> Any:
            address = arguments[place]
            if sock.family in (socket.AF_INET, socket.AF_INET6) and (
                address[:2] == _NOWHERE or not _is_here(address[0])
            ):
                raise self._refused(f"{address[0]}:{address[1]}")
            return plain(sock, *arguments)

        return method

    def _function(self, plain: Any) -> Any:
        def function(host: Any, *arguments: Any, **options: Any) -> Any:
            if not _is_here(host):
                raise self._refused(str(host))
            return plain(host, *arguments, **options)

        return function

    def _refused(self, what: str) -> OSError:
        self.tried.append(what)
        return OSError(f"tests do not use the network: {what}")


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


guard = Guard()
