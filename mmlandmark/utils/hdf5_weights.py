"""Weights that Keras keeps in HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HDF5_SUFFIXES = (".h5", ".hdf5")
_MOST = 4  # times the size of the file that weights may have; numbers hardly compress


def load_hdf5(path: str | Path) -> dict[str, Tensor]:
    """Return the weights in an HDF5 file by their path in it; nothing in such a file is code.

    Args:
        path: Local file.

    Returns:
        Tensors in the order of axes of PyTorch: kernels (out, in, *S) instead of (*S, in, out), matrices
        (out, in).

    Raises:
        ImportError: h5py is not installed.
        ValueError: It is no HDF5 file, a weight is not a finite number or lies in another file, or all are
            far more than the file.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f'{path} needs h5py to be read: pip install "mmlandmark[weights]"') from error
    weights: dict[str, Tensor] = {}
    room = [_MOST * Path(path).stat().st_size + 2**20 if Path(path).is_file() else 0]

    def take(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and np.issubdtype(node.dtype, np.number):
            if node.external or node.is_virtual:
                raise ValueError(
                    f"weights {path}: {name[:60]!r} takes its values from other files, which weights must "
                    "not do; save it as a plain data set"
                )
            room[0] -= node.nbytes
            if room[0] < 0:
                raise ValueError(f"weights {path}: they unpack to far more than the size of the file")
            value = torch.from_numpy(np.array(node))
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise ValueError(f"weights {path}: {name[:60]!r} holds NaN or infinity")
            if value.ndim > 1:
                value = value.movedim((-1, -2), (0, 1)).contiguous()
            weights[name] = value

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except (OSError, RuntimeError, KeyError) as error:  # the library has one for every place of damage
        raise ValueError(f"weights {path}: this is no HDF5 file, or it is damaged") from error
    return weights
