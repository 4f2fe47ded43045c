"""The dataset: selection, frames of reference, draws, epochs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.structures import apply_matrix, world_matrix
from mmlandmark.testing.volume_files import write_dicom_series
from test_datasets.six_cases import NAMES, build, draw


def test_records_are_complete(root):
    dataset = build(root)
    assert len(dataset) == 6
    record = dataset[2]
    assert record["sample_id"] == "case2"
    assert record["img_path"] == str(root / "images" / "case2.png")
    np.testing.assert_array_equal(record["landmarks"], np.float32([[2, 1.5], [np.nan, np.nan], [4, 5]]))
    assert record["landmarks"].dtype == np.float32
    assert (record["group"], record["ori_shape"], record["machine"]) == ("patient1", (20, 30), "A")
    assert record["spacing"] == (0.5, 0.5)
    assert dataset[1]["spacing"] == (0.1, 0.2)
    assert record["flip_pairs"] == ((1, 2),)
    assert record["image_cache"] is None


def test_metainfo_is_plain_and_follows_the_schema(root):
    meta = build(root, metainfo=dict(extra="yes")).metainfo
    assert meta["schema"] == "three"
    assert meta["num_landmarks"] == 3
    assert meta["landmark_names"] == list(NAMES)
    assert meta["flip_pairs"] == [[1, 2]]
    assert meta["reference_length"] == {"pair": [0, 2], "mm": 50.0}
    assert meta["extra"] == "yes"
    json.dumps(meta)


def test_schema_is_numbered_when_nothing_names_it(root):
    data = json.loads((root / "all.json").read_text())
    del data["schema"]
    (root / "all.json").write_text(json.dumps(data))
    assert build(root).schema.name == "numbered3"


def test_lazy_dataset_reads_when_asked(root):
    dataset = build(root, lazy_init=True)
    (root / "moved").mkdir()
    assert not dataset._fully_initialized
    assert dataset.metainfo["num_landmarks"] == 3
    assert len(dataset) == 6


def test_subset_of_landmarks(root):
    dataset = build(root, landmarks=["right", 1])
    assert dataset.schema.landmarks == ("right", "left")
    assert dataset.schema.flip_pairs == ((1, 0),)
    assert dataset.schema.links == ()
    assert dataset.schema.reference_length is None
    assert dataset.schema.measures == ()
    np.testing.assert_array_equal(dataset[0]["landmarks"], [[4, 5], [2, 3]])
    record = dict(sample_id="r", by_annotator=np.arange(12.0).reshape(2, 3, 2), landmarks=np.zeros((3, 2)))
    dataset.load_records = lambda: [record]
    kept = dataset.load_data_list()[0]["by_annotator"]
    np.testing.assert_array_equal(kept, [[[4, 5], [2, 3]], [[10, 11], [8, 9]]])
    kept = build(root, landmarks=["right", "sella"]).schema
    assert kept.reference_length == {"pair": [1, 0], "mm": 50.0}


def test_environment_variables_in_paths(root, monkeypatch):
    monkeypatch.setenv("SOME_DATA", str(root.parent))
    dataset = LandmarkDataset("all.json", f"$SOME_DATA/{root.name}", "images")
    assert len(dataset) == 6
    folder = root.parent / "$SOME_DATA"  # the very name of a folder
    shutil.copytree(root, folder)
    monkeypatch.chdir(root.parent)
    assert LandmarkDataset("all.json", str(folder), "images").data_root == str(folder)
    assert len(LandmarkDataset("all.json", "$SOME_DATA", "images")) == 6


def test_index_runs_from_either_end_and_stops(root):
    dataset = build(root, pipeline=[draw])
    assert dataset[-1] == dataset[5]
    with pytest.raises(IndexError, match="out of range for 6"):
        dataset[6]
    assert len(list(dataset)) == 6


def test_missing_images_can_be_dropped_or_kept(root):
    (root / "images" / "case3.png").unlink()
    assert [r["sample_id"] for r in build(root, missing_images="drop")] == [
        f"case{i}" for i in (0, 1, 2, 4, 5)
    ]
    assert len(build(root, missing_images="keep")) == 6


def test_whole_path_to_the_network(root):
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", size=(10, 15)),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    packed = build(root, pipeline=pipeline, image_cache=dict(mode="ram", max_gb=0.01))[2]
    assert tuple(packed["inputs"].shape) == (1, 10, 15)
    sample = packed["data_samples"]
    assert sample.mask.tolist() == [True, False, True]
    assert sample.spacing == (0.5, 0.5)
    # (4, 5) in a frame of half the size: (x + 0.5) / 2 - 0.5.
    np.testing.assert_allclose(sample.to_input(sample.gt_landmarks)[2], [1.75, 2.25], rtol=1e-6)


def test_serialised_records_are_the_same(root):
    plain, serialised = (build(root, serialize_data=serialize) for serialize in (False, True))
    assert len(plain) == len(serialised) == 6
    for index in range(6):
        np.testing.assert_equal(serialised.get_data_info(index), plain.get_data_info(index))


WORLD = world_matrix((0.5, 1, 2), (100, -200, 50), np.diag([-1, 1, 1]))
VOXELS = np.array([[1, 2, 3], [9, 8, 4]], float)


def annotation_in_mm(folder, system):
    """Write two volumes and their points in mm, in three ways of writing; return (file, options) of each."""
    for name in ("a", "b"):
        write_nifti(folder / f"{name}.nii", np.zeros((6, 10, 12), np.uint8), None, WORLD)
    points = (apply_matrix(WORLD, VOXELS) * ([-1, -1, 1] if system == "RAS" else 1)).tolist()
    samples = [dict(image=f"{name}.nii", landmarks=points) for name in "ab"]
    schema = dict(name="two", landmarks=["p", "q"], dims=3)
    (folder / "said.json").write_text(json.dumps(dict(schema=schema, coordinates=system, samples=samples)))
    (folder / "plain.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    numbers = ",".join(str(c) for point in points for c in point)
    rows = "".join(f"{name}.nii,{numbers}\n" for name in "ab")
    columns = ",".join(f"{name}_{axis}" for name in "pq" for axis in "xyz")
    (folder / "plain.csv").write_text(f"image,{columns}\n{rows}")
    found = [
        ("said.json", {}),
        ("plain.json", dict(coordinates=system)),
        ("plain.csv", dict(coordinates=system)),
    ]
    if system == "LPS":
        (folder / "units.csv").write_text(f"image,{columns.replace(',', ' [mm],')} [mm]\n{rows}")
        found.append(("units.csv", {}))
    return found


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_annotations_in_mm(tmp_path, system):
    for name, options in annotation_in_mm(tmp_path, system):
        data = LandmarkDataset(name, str(tmp_path), **options)
        for record in (data.get_data_info(0), data.get_data_info(1)):
            np.testing.assert_allclose(record["landmarks"], VOXELS, atol=1e-4, err_msg=name)
            assert record["ori_shape"] == (6, 10, 12)
            assert record["spacing"] == pytest.approx((0.5, 1, 2))
            assert "in_world" not in record


def test_annotations_in_mm_that_are_something_else(tmp_path):
    annotation_in_mm(tmp_path, "RAS")
    with pytest.raises(
        ValueError, match=r"plain.json, samples\[0\]: .*negating x and y puts them inside: RAS\?"
    ):
        LandmarkDataset("plain.json", str(tmp_path), coordinates="LPS")
    with pytest.raises(
        ValueError, match=r"plain.csv, line 2: .*taking them as mm with x and y negated .*RAS\?"
    ):
        LandmarkDataset("plain.csv", str(tmp_path))
    (tmp_path / "a.nii").unlink()
    with pytest.raises(
        ValueError, match=r"points in mm need the frame of their image, and .*a.nii' does not"
    ):
        LandmarkDataset("said.json", str(tmp_path), missing_images="keep")
    text = (tmp_path / "said.json").read_text().replace("RAS", "SPR")
    (tmp_path / "said.json").write_text(text)
    with pytest.raises(ValueError, match=r"said.json: 'coordinates' must be one of .*, got 'SPR'"):
        LandmarkDataset("said.json", str(tmp_path))


def test_a_folder_of_slices_is_an_image_of_an_annotation(tmp_path):
    pytest.importorskip("pydicom")
    world = world_matrix((0.5, 1, 2), (100, -200, 50))
    write_dicom_series(tmp_path / "images" / "case.1", np.zeros((6, 10, 12), np.uint8), world)
    (tmp_path / "a.csv").write_text("image,p_x,p_y,p_z\ncase.1,1,2,3\n")
    data = LandmarkDataset(
        "a.csv", str(tmp_path), "images", pipeline=[dict(type="LoadImage"), dict(type="PackInputs")]
    )
    assert data.get_data_info(0)["spacing"] == pytest.approx((0.5, 1, 2))
    sample = data[0]["data_samples"]
    np.testing.assert_allclose(
        sample.to_world(sample.gt_landmarks), apply_matrix(world, VOXELS[:1]), atol=1e-4
    )
