"""Mandibular molars in the layout of the release."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import MandibularMolars
from mmlandmark.testing.volume_files import write_itk

pytest.importorskip("SimpleITK")


def molars(root):
    """Write one case of every part; landmark 3 of ``a`` is absent."""
    rng = np.random.default_rng(0)
    points = {}
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        folder = root / split
        folder.mkdir(parents=True)
        write_itk(
            folder / f"{name}_volume.nrrd", rng.integers(0, 255, (8, 10, 12)).astype(np.uint8), np.eye(4)
        )
        points[name] = rng.uniform(1, (11, 9, 7), (14, 3))
        if name == "a":
            points[name][3] = -1000
        np.save(folder / f"{name}_label.npy", points[name])
        np.save(folder / f"{name}_spacing.npy", np.array([0.4, 0.5, 1.0]))
    return points


def test_parts_points_absent_landmarks_and_spacing(tmp_path):
    points = molars(tmp_path)
    data = MandibularMolars(data_root=str(tmp_path))
    records = [data.get_data_info(n) for n in range(len(data))]
    assert [(r["sample_id"], r["split"]) for r in records] == [("a", "train"), ("b", "val"), ("c", "test")]
    assert (len(data.schema), data.schema.dims) == (14, 3)
    first = records[0]
    assert first["visibility"].tolist() == [1, 1, 1, -1] + [1] * 10
    assert np.isnan(first["landmarks"][3]).all()
    np.testing.assert_allclose(np.delete(first["landmarks"], 3, 0), np.delete(points["a"], 3, 0), atol=1e-5)
    assert first["spacing"] == (0.4, 0.5, 1.0)
    assert first["ori_shape"] == (8, 10, 12)
    assert len(MandibularMolars(data_root=str(tmp_path), split="val")) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a_label.npy", None, r"a_label.npy: the file that belongs to this volume does not exist"),
        ("a_spacing.npy", np.zeros(3), r"a_spacing.npy: spacing must be one or 3 positive numbers"),
        ("a_label.npy", np.zeros((14, 2)), r"a_label.npy: expected points of three coordinates, got shape"),
        ("a_label.npy", np.full((14, 3), np.nan), r"a_label.npy: some numbers are not finite"),
        ("a_label.npy", np.array(["x"]), r"a_label.npy: this is no array of numbers"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path, name, content, message):
    molars(tmp_path)
    path = tmp_path / "train" / name
    path.unlink()
    if content is not None:
        np.save(path, content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        MandibularMolars(data_root=str(tmp_path))


def test_no_volume(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*_volume.nrrd in train, val or test"):
        MandibularMolars(data_root=str(tmp_path))
