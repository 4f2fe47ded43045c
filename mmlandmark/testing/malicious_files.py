"""Files that run code when they are loaded carelessly, or that unpack to far more than their size."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

_BOMB = 2 << 30  # bytes that an entry of a packed file claims


class _Harm:
    """An object that touches a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


def _write_bomb(path: Path, trace: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("archive/data.pkl", "archive/data/0", "arr_0.npy"):
            with archive.open(name, "w") as file:
                for _ in range(4):
                    file.write(bytes(1 << 24))
    data = bytearray(path.read_bytes())  # the directory claims more than anybody wants to write
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = _BOMB.to_bytes(4, "little")
    path.write_bytes(bytes(data))


def _write_aliases(path: Path, trace: Path) -> None:
    """Write a YAML of a few lines that names more values than there are atoms."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 25)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _call(trace: Path) -> dict[str, Any]:
    return dict(type="mmlandmark.utils.files.atomic_write_text", path=str(trace), text="x")


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "pickle.pth": lambda path, trace: path.write_bytes(pickle.dumps(_Harm(trace), protocol=2)),
    "archive.pth": lambda path, trace: torch.save(dict(state_dict={}, meta=_Harm(trace)), path),
    "objects.npy": lambda path, trace: np.save(path, np.array([_Harm(trace)], object), allow_pickle=True),
    "objects.npz": lambda path, trace: np.savez(path, a=np.array([_Harm(trace)], object)),
    "tags.yaml": lambda path, trace: path.write_text(
        f"model: !!python/object/apply:builtins.exec [\"open('{trace}', 'w')\"]\n", encoding="utf-8"
    ),
    "names.json": lambda path, trace: path.write_text(
        json.dumps(dict(model=dict(type="os.mkdir", path=str(trace)), custom_hooks=[_call(trace)])),
        encoding="utf-8",
    ),
    "imports.json": lambda path, trace: path.write_text(
        json.dumps(dict(custom_imports=dict(imports=["antigravity", "os"]), samples=[_call(trace)])),
        encoding="utf-8",
    ),
    "aliases.yaml": _write_aliases,
    "bomb.pth": _write_bomb,
    "bomb.npz": _write_bomb,
}
