"""Weights of Keras in HDF5."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from mmlandmark.utils.checkpoint import load_weights
from mmlandmark.utils.hdf5_weights import load_hdf5


@pytest.fixture
def write(tmp_path):
    h5py = pytest.importorskip("h5py", reason='needs h5py (pip install "mmlandmark[weights]")')

    def written(**values):
        path = tmp_path / "net.weights.h5"
        with h5py.File(path, "w") as file:
            for name, value in values.items():
                file[name.replace("__", "/")] = value
        return path

    return written


def test_kernels_are_in_the_order_of_pytorch(write):
    kernel = np.random.default_rng(0).normal(size=(3, 5, 2, 4)).astype(np.float32)
    path = write(conv__vars__0=kernel, conv__vars__1=np.ones(4, np.float32), about="text")
    weights = load_hdf5(path)
    assert set(weights) == {"conv/vars/0", "conv/vars/1"}
    image = torch.rand(1, 2, 6, 7)
    moved = torch.nn.functional.conv2d(image, weights["conv/vars/0"], weights["conv/vars/1"])
    # The first output pixel, as Keras computes it: the kernel is (H, W, in, out).
    window = image[0, :, :3, :5].permute(1, 2, 0).numpy()
    expected = np.einsum("hwi,hwio->o", window, kernel) + 1
    np.testing.assert_allclose(moved[0, :, 0, 0], expected, rtol=1e-5)
    assert torch.equal(load_weights(path, prefix="conv/")["vars/1"], torch.ones(4))


def test_bad_files_are_named(write, tmp_path):
    path = write(a=np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"net\.weights\.h5: 'a' holds NaN"):
        load_hdf5(path)
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.h5: this is no HDF5 file"):
        load_hdf5(tmp_path / "broken.h5")
    path = write(a__b=np.ones(2))
    path.write_bytes(path.read_bytes().replace(b"SNOD", b"none"))  # the library raises RuntimeError
    with pytest.raises(ValueError, match=r"net\.weights\.h5: this is no HDF5 file, or it is damaged"):
        load_hdf5(path)


def test_values_in_other_files_are_refused(write, tmp_path):
    import h5py

    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(16)))
    for kind in ("external", "virtual"):
        path = write(plain=np.ones(2, np.float32))
        with h5py.File(path, "a") as file:
            if kind == "external":
                file.create_dataset("taken", (16,), "u1", external=[(str(secret), 0, 16)])
            else:
                layout = h5py.VirtualLayout((2,), "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (2,))
                file.create_virtual_dataset("taken", layout)
        with pytest.raises(ValueError, match=r"net\.weights\.h5: 'taken' takes its values from other files"):
            load_hdf5(path)


def test_without_h5py_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"needs h5py to be read: pip install .mmlandmark\[weights\]"):
        load_hdf5(tmp_path / "a.h5")
