"""Parts of files, on disk and on servers, through MMEngine's file backends.

MMEngine 0.10 reads whole files: its HTTP backend without a time limit, its backend for S3 by
``petrel_client``, which no package index has. The two backends here read ranges of bytes and give up when
nothing comes. They are registered with MMEngine under names of their own, when the first one is opened:
importing this module changes nothing.
"""

from __future__ import annotations

import os
import re
import time
import urllib.request
from abc import abstractmethod
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from mmengine.fileio import BaseStorageBackend, LocalBackend, get_file_backend, register_backend
from mmengine.fileio.backends.registry_utils import backends

from mmlandmark.utils.downloads import SILENCE
from mmlandmark.utils.work_meter import sign_of_work

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_READ = 2**17  # bytes after which a process shows that it works
_PAUSE = 0.5  # seconds before the second try; doubled before each further one


class CutOffError(ValueError):
    """A file ends before the bytes that were asked for."""


class RangeBackend(BaseStorageBackend):
    """A backend that reads parts of files.

    Args:
        silence: Seconds without a byte after which a try is given up; None takes
            :data:`~mmlandmark.utils.downloads.SILENCE`.
        tries: How often a part is asked for where the server does not answer well.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(self, silence: float | None = None, tries: int = 3) -> None:
        self.silence, self.tries = SILENCE if silence is None else silence, tries
        if not self.silence > 0 or tries < 1:
            raise ValueError(f"silence and tries must be positive, got {silence} and {tries}")

    @abstractmethod
    def _part(self, filepath: str, start: int, length: int) -> tuple[bytes, int]:
        """Return at most ``length`` bytes of a file and the size of the file."""

    def get_range(self, filepath: str, start: int, length: int) -> tuple[bytes, int]:
        """Return the bytes from ``start`` on, fewer than ``length`` at the end, and the size of the file.

        Raises:
            FileNotFoundError: There is no such file.
            CutOffError: It ends before ``start``.
            OSError: The server cannot be reached, refuses, says nothing for too long, or leaves off before
                the end of the part; after all tries.
        """
        for number in range(1, self.tries + 1):
            try:
                return self._part(filepath, start, length)
            except (FileNotFoundError, PermissionError):
                raise
            except OSError as error:
                if number == self.tries:
                    raise OSError(f"{filepath}: {error}, in {number} tries") from None
                sign_of_work()
                time.sleep(_PAUSE * 2 ** (number - 1))
        raise AssertionError("a try returns or raises")

    def get(self, filepath: str) -> bytes:
        """Return a whole file; see :meth:`get_range` for the errors."""
        parts, done, size = [], 0, 1
        while done < size:
            part, size = self.get_range(filepath, done, 2**24)
            parts.append(part)
            done += len(part)
        return b"".join(parts)

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        """Return a whole file as text."""
        return self.get(filepath).decode(encoding)


def _read(answer: Any, length: int) -> bytes:
    """Read an answer; a server that is slow is none that is gone."""
    parts, left = [], length
    while left > 0 and (part := answer.read(min(_READ, left))):
        parts.append(part)
        left -= len(part)
        sign_of_work()
    return b"".join(parts)


def _checked(data: bytes, said: str | None, start: int, length: int) -> tuple[bytes, int]:
    """Return a part and the size of its file by ``Content-Range``; OSError if they do not fit."""
    match = _RANGE.fullmatch(said or "")
    if match is None or int(match[1]) != start:
        raise OSError(f"the server answers with the range {said!r} in place of {start}")
    size = int(match[3])
    expected = min(length, size - start)
    if len(data) < expected:
        raise OSError(f"the connection ended after {len(data)} of {expected} bytes")
    return data, size


class HTTPRangeBackend(RangeBackend):
    """Parts of files of a web server, which must support ranges, as nearly all do."""

    def _part(self, filepath: str, start: int, length: int) -> tuple[bytes, int]:
        headers = {"User-Agent": "mmlandmark", "Range": f"bytes={start}-{start + length - 1}"}
        request = urllib.request.Request(filepath, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.silence) as answer:
                if answer.status != 206:
                    raise PermissionError(f"{filepath}: the server does not support ranges of bytes")
                return _checked(_read(answer, length), answer.headers.get("Content-Range"), start, length)
        except HTTPError as error:
            raise _refusal(filepath, error.code, str(error.reason), start) from None
        except TimeoutError:
            raise OSError(f"the server has sent nothing for {self.silence:g} s") from None
        except HTTPException as error:
            raise OSError(f"the server's answer is broken ({error})") from None
        except URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise OSError(f"the server has sent nothing for {self.silence:g} s") from None
            raise OSError(f"the server cannot be reached ({error.reason})") from None


def _refusal(filepath: str, code: int, reason: str, start: int) -> Exception:
    """Return the error for an answer: where another try is of no use, no plain OSError."""
    if code in (404, 410):
        return FileNotFoundError(f"{filepath} does not exist: the server answers {code}")
    if code == 416:
        return CutOffError(f"{filepath} is cut off: it ends before byte {start}")
    if code in (401, 403):
        return PermissionError(f"{filepath}: the server answers {code} {reason}")
    return OSError(f"the server answers {code} {reason}")


class S3RangeBackend(RangeBackend):
    """Parts of objects of a store that speaks S3, such as MinIO or Ceph, by boto3.

    Names and keys come from where boto3 looks for them: the environment, or its files.

    Args:
        endpoint_url: Address of the store; None is Amazon's, or what boto3's settings say.
        region_name: Region of the store.
        **kwargs: See :class:`RangeBackend`.

    Raises:
        ImportError: boto3 is not installed.
    """

    def __init__(
        self, endpoint_url: str | None = None, region_name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        try:
            import boto3  # noqa: F401
        except ImportError as error:
            raise ImportError("s3:// needs boto3: pip install 'mmlandmark[s3]'") from error
        self._arguments = dict(endpoint_url=endpoint_url, region_name=region_name)
        self._client: tuple[int, Any] | None = None  # and the process that it belongs to

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _client=None)

    @property
    def client(self) -> Any:
        """The client of this process: connections do not outlive a fork."""
        if self._client is None or self._client[0] != os.getpid():
            import boto3
            from botocore.config import Config

            config = Config(
                connect_timeout=self.silence, read_timeout=self.silence, retries=dict(max_attempts=0)
            )
            self._client = (
                os.getpid(),
                boto3.session.Session().client("s3", config=config, **self._arguments),
            )
        return self._client[1]

    def _part(self, filepath: str, start: int, length: int) -> tuple[bytes, int]:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = filepath.partition("://")[2].partition("/")
        try:
            answer = self.client.get_object(
                Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}"
            )
            return _checked(_read(answer["Body"], length), answer.get("ContentRange"), start, length)
        except ClientError as error:
            code = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            reason = str(error.response.get("Error", {}).get("Code", ""))
            raise _refusal(filepath, code, reason, start) from None
        except (BotoCoreError, HTTPException) as error:
            raise OSError(f"the store does not answer ({' '.join(str(error).split())})") from None


_OWN: dict[str, tuple[str, type[RangeBackend]]] = {
    "http": ("mmlandmark_http", HTTPRangeBackend),
    "https": ("mmlandmark_http", HTTPRangeBackend),
    "s3": ("mmlandmark_s3", S3RangeBackend),
}


def open_backend(uri: str, backend_args: dict[str, Any] | None = None) -> BaseStorageBackend:
    """Return MMEngine's file backend for a file.

    Args:
        uri: A path, or an address with ``http``, ``https`` or ``s3``.
        backend_args: As for :func:`mmengine.fileio.get`: arguments of the backend, and ``backend``, the name
            of one that is registered with MMEngine. Without a name, addresses get the backends of this
            module.

    Raises:
        ValueError: There is no such backend, or it does not take these arguments.
        ImportError: It needs a package that is missing.
    """
    args = dict(backend_args or {})
    for name, kind in _OWN.values():
        if name not in backends:
            register_backend(name, kind)
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if "backend" not in args and scheme in _OWN:
        args["backend"] = _OWN[scheme][0]
    if "backend" in args and args["backend"] not in backends:
        raise ValueError(f"there is no file backend {args['backend']!r}; known are {sorted(backends)}")
    try:
        return get_file_backend(uri, backend_args=args)
    except KeyError:
        raise ValueError(f"{uri}: there is no file backend for {scheme}://; give backend_args") from None
    except TypeError as error:
        raise ValueError(f"backend_args of {uri} do not fit its backend: {error}") from None


def read_range(backend: BaseStorageBackend, uri: str, start: int, length: int) -> tuple[bytes, int]:
    """Return a part of a file and the size of the file.

    A backend of others reads the whole file, of which the part is taken.

    Args:
        backend: See :func:`open_backend`.
        uri: The file.
        start: Its first byte.
        length: Bytes, at least 1; fewer come at the end of the file.

    Raises:
        FileNotFoundError: There is no such file.
        CutOffError: It ends before ``start``.
        OSError: See :meth:`RangeBackend.get_range`.
    """
    if isinstance(backend, RangeBackend):
        return backend.get_range(uri, start, length)
    if isinstance(backend, LocalBackend):
        with open(uri, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            data = file.read(max(0, min(length, size - start)))
    else:
        whole = backend.get(uri)
        size, data = len(whole), bytes(memoryview(whole)[start : start + length])
    if start >= size:
        raise CutOffError(f"{uri} is cut off: it ends before byte {start}")
    return data, size


def read_bounded(backend: BaseStorageBackend, uri: str, most: int) -> bytes:
    """Return a whole file.

    Args:
        backend: See :func:`open_backend`.
        uri: The file.
        most: Bytes that it may have.

    Raises:
        ValueError: It is empty or has more; memory is used for that much only.
        OSError: See :func:`read_range`.
    """
    reading: Callable[[int], tuple[bytes, int]] = lambda start: read_range(backend, uri, start, 2**24)  # noqa: E731
    data, size = reading(0)
    parts, done = [data], len(data)
    while done < size <= most:
        data, size = reading(done)
        parts.append(data)
        done += len(data)
    if size > most:
        raise ValueError(f"{uri} has {size:,} bytes, more than the {most:,} that are allowed")
    return b"".join(parts)
