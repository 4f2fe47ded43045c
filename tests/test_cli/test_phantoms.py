"""mmlandmark phantoms: what it writes can be read back, and it writes all or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmlandmark.cli import invoke
from mmlandmark.datasets import LandmarkDataset, PhantomDataset
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.phantom import render_phantom


def make(folder: Path, *arguments: object) -> None:
    numbers = ["--num-train", "3", "--num-test", "2", "--size", "96", "72", "--out", str(folder)]
    invoke("phantoms", [*numbers, *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_folder_is_read_back_exactly(tmp_path):
    make(tmp_path / "out", "--num-val", 1, "--bits", 16, "--missing", 0.2, "--seed", 4)
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        dataset = LandmarkDataset("annotations.json", str(tmp_path / "out"), split=split)
        ids = (tmp_path / "out" / f"{split}.txt").read_text().split()
        assert len(dataset) == len(ids) == count
        for index, name in enumerate(ids):
            record = dataset.get_data_info(index)
            image, landmarks, spacing = render_phantom("ceph", 4, int(name.split("_")[-1]), (96, 72), bits=16)
            seen = np.isfinite(record["landmarks"]).all(axis=1)
            assert record["sample_id"] == name
            assert 0 < seen.sum() < 19
            assert np.array_equal(record["landmarks"][seen], landmarks[seen])
            assert record["spacing"] == pytest.approx(spacing)
            assert np.array_equal(read_image(record["img_path"]).array, image)
    assert dataset.schema.name == "isbi2015_cephalogram"


def test_volumes_are_nifti_files_with_their_frame(tmp_path):
    pytest.importorskip("nibabel")
    make(tmp_path / "out", "--kind", "head", "--size", 20, 24, 28, "--missing", 0.1)
    make(tmp_path / "again", "--kind", "head", "--size", 20, 24, 28, "--missing", 0.1)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")
    dataset = LandmarkDataset("annotations.json", str(tmp_path / "out"))
    phantoms = PhantomDataset("head", 5, (20, 24, 28), missing=0.1)
    assert dataset.schema == phantoms.schema
    for index in range(5):
        record, made = dataset.get_data_info(index), phantoms.get_data_info(index)
        assert record["img_path"].endswith(f"{made['sample_id']}.nii.gz")
        assert np.array_equal(record["landmarks"], made["landmarks"], equal_nan=True)
        assert np.array_equal(record["visibility"], made["visibility"])
        image = read_image(record["img_path"])
        assert image.array.dtype == np.int16
        np.testing.assert_allclose(image.world_from_original, made["world_from_original"], atol=1e-4)
        assert np.array_equal(image.array, made["img"][:, ::-1, ::-1])


def test_two_runs_write_the_same_bytes(tmp_path):
    make(tmp_path / "a", "--kind", "hand")
    make(tmp_path / "b", "--kind", "hand")
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    assert len(first) == 5 + 4


def test_same_arguments_keep_the_folder_and_others_are_refused(tmp_path, capsys):
    out = tmp_path / "out"
    make(out)
    before = contents(out)
    changed = (out / "annotations.json").stat().st_mtime_ns
    make(out)
    assert "exists already" in capsys.readouterr().out
    assert (out / "annotations.json").stat().st_mtime_ns == changed
    with pytest.raises(ValueError, match="--overwrite"):
        make(out, "--seed", 1)
    assert contents(out) == before
    make(out, "--seed", 1, "--overwrite")
    assert contents(out).keys() != before.keys()


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds something else than phantoms"):
        make(tmp_path, "--overwrite")
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_nothing_is_left_of_a_run_that_fails(tmp_path):
    with pytest.raises(ValueError, match="missing is a fraction"):
        make(tmp_path / "out", "--missing", 2)
    assert list(tmp_path.iterdir()) == []
