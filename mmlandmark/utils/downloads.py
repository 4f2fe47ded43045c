"""Files from the network, with an end to waiting."""

from __future__ import annotations

import urllib.request
from contextlib import nullcontext
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from mmlandmark.utils.progress import Progress

SILENCE = 20.0  # seconds without a byte after which a download is given up
_PART = 2**17  # bytes


def download(url: str, path: str | Path, silence: float | None = None) -> None:
    """Download a file.

    Args:
        url: With http or https.
        path: File to write; on an error a part of it may be there.
        silence: Seconds without a byte after which it is given up; :data:`SILENCE` by default.

    Raises:
        OSError: The server cannot be reached, refuses, says nothing for too long, or leaves off before the
            end; or the file cannot be written.
    """
    silence = SILENCE if silence is None else silence
    request = urllib.request.Request(url, headers={"User-Agent": "mmlandmark"})
    try:
        with urllib.request.urlopen(request, timeout=silence) as answer, Path(path).open("wb") as file:
            length = int(answer.headers.get("Content-Length") or 0)
            taken = 0
            with Progress(-(-length // 2**20), unit="MiB") if length else nullcontext() as progress:
                while part := answer.read(_PART):
                    file.write(part)
                    taken += len(part)
                    if progress is not None:
                        progress.advance(taken // 2**20 - progress.done)
    except TimeoutError:
        raise _silent(silence) from None
    except HTTPException as error:
        raise OSError(f"the server's answer is broken: {error}") from None
    except HTTPError as error:
        raise OSError(f"the server answers {error.code} {error.reason}") from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _silent(silence) from None
        raise OSError(f"the server cannot be reached: {error.reason}") from None
    if taken < length:
        raise OSError(f"the connection ended after {taken} of {length} bytes")


def _silent(seconds: float) -> OSError:
    return OSError(f"the server has sent nothing for {seconds:g} s")
