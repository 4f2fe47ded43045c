"""Folders of images with markups of 3D Slicer."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from image_writers import write_cv, write_nifti, write_sitk
from mmlandmark.datasets.image_files import image_frame
from mmlandmark.datasets.releases import SlicerMarkups
from mmlandmark.structures import apply_matrix, world_matrix

WORLD = world_matrix((0.5, 1.0, 2.0), (10, -40, 5), np.diag([-1, 1, 1]))
PLACES = np.array([[1.0, 2.0, 3.0], [7.0, 8.0, 2.5], [0.0, 9.0, 4.0]])
SIZE = (6, 10, 12)


def save(path, points, system="LPS", names="abc", **more):
    """Write points in mm as a point list."""
    marks = [
        dict(label=name, description=name.upper() * 2, position=list(point))
        for name, point in zip(names, np.asarray(points).tolist(), strict=False)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(dict(markups=[dict(type="Fiducial", coordinateSystem=system, controlPoints=marks) | more]))
    )


@pytest.fixture
def folder(tmp_path):
    """Two volumes with markups, of which the second lacks a point."""
    for name in ("one", "sub/two"):
        path = tmp_path / f"{name}.nii"
        path.parent.mkdir(exist_ok=True)
        write_nifti(path, np.zeros(SIZE, np.uint8), None, WORLD)
    save(tmp_path / "one.mrk.json", apply_matrix(WORLD, PLACES))
    save(tmp_path / "sub" / "two.mrk.json", apply_matrix(WORLD, PLACES)[1:], names="bc")
    return tmp_path


def test_points_in_mm_become_voxels_as_stored(folder):
    data = SlicerMarkups(data_root=str(folder))
    assert data.schema.landmarks == ("a", "b", "c")
    assert data.schema.dims == 3
    one, two = map(data.get_data_info, range(2))
    assert [one["sample_id"], two["sample_id"]] == ["one", "sub/two"]
    np.testing.assert_allclose(one["landmarks"], PLACES, atol=1e-4)
    np.testing.assert_allclose(two["landmarks"][1:], PLACES[1:], atol=1e-4)
    assert np.isnan(two["landmarks"][0]).all()
    np.testing.assert_allclose(one["spacing"], (0.5, 1, 2), rtol=1e-6)
    assert one["ori_shape"] == SIZE


def test_a_training_sample_has_them_on_the_reordered_array(folder):
    pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
    sample = SlicerMarkups(data_root=str(folder), pipeline=pipeline)[0]["data_samples"]
    expected = PLACES * [-1, 1, 1] + [SIZE[2] - 1, 0, 0]  # x of the file grows to the right
    np.testing.assert_allclose(sample.to_input(sample.gt_landmarks), expected, atol=1e-4)
    np.testing.assert_allclose(sample.to_world(sample.gt_landmarks), apply_matrix(WORLD, PLACES), atol=1e-4)


def test_ras_and_a_schema_of_other_order(folder):
    save(folder / "one.mrk.json", apply_matrix(WORLD, PLACES) * [-1, -1, 1], "RAS")
    schema = dict(name="four", landmarks=["c", "new", "b", "a"], dims=3)
    record = SlicerMarkups(data_root=str(folder), schema=schema).get_data_info(0)
    np.testing.assert_allclose(record["landmarks"][[3, 2, 0]], PLACES, atol=1e-4)
    assert record["visibility"].tolist() == [1, 0, 1, 1]


def test_folders_and_endings(folder):
    (folder / "images").mkdir()
    (folder / "one.nii").rename(folder / "images" / "one_T1w.nii")
    (folder / "one.mrk.json").rename(folder / "one_afids.mrk.json")
    shutil.rmtree(folder / "sub")
    data = SlicerMarkups(
        data_root=str(folder), image_dir="images", image_ending="_T1w", markups_ending="_afids",
        names_from="description",
    )  # fmt: skip
    assert data.get_data_info(0)["sample_id"] == "one"
    assert data.schema.landmarks == ("AA", "BB", "CC")


def test_a_mirrored_file_is_refused_with_the_reason(folder):
    save(folder / "one.mrk.json", apply_matrix(WORLD, PLACES) * [-1, -1, 1])
    with pytest.raises(
        ValueError,
        match=r"one.mrk.json: 3 of 3 points lie outside of the image; with x and y of the opposite sign, 3 "
        r"are inside: LPS and RAS are mixed up in this file",
    ):
        SlicerMarkups(data_root=str(folder))
    save(folder / "one.mrk.json", apply_matrix(WORLD, PLACES) + 500)
    with pytest.raises(ValueError, match=r"they were set in another image or frame"):
        SlicerMarkups(data_root=str(folder))


def test_an_image_in_its_plane(tmp_path):
    write_sitk(tmp_path / "a.mha", np.zeros((20, 30), np.uint8), (0.5, 0.25))
    save(tmp_path / "a.mrk.json", [[5, 2, 0], [1, 1, 0.1], [0, 0, 0]])
    record = SlicerMarkups(data_root=str(tmp_path)).get_data_info(0)
    assert record["landmarks"].tolist() == [[10, 8], [2, 4], [0, 0]]
    save(tmp_path / "a.mrk.json", [[5, 2, 0], [1, 1, 7], [0, 0, 0]])
    with pytest.raises(ValueError, match=r"a.mrk.json: point 'b' lies 7.0 mm from the plane of the image"):
        SlicerMarkups(data_root=str(tmp_path))


def test_an_image_without_a_frame(tmp_path):
    write_cv(tmp_path / "a.png", np.zeros((20, 30), np.uint8), None)
    save(tmp_path / "a.mrk.json", [[5, 2, 0], [1, 1, 0], [0, 0, 0]])

    def points(**kwargs):
        return SlicerMarkups(data_root=str(tmp_path), **kwargs).get_data_info(0)["landmarks"].tolist()

    assert points()[0] == [5, 2]  # pixels of 1 mm, as Slicer takes them
    assert points(spacing=0.5)[0] == [10, 4]
    assert points(spacing=0.5, pixel_size=1)[0] == [5, 2]
    np.save(tmp_path / "a.npy", np.zeros((4, 20, 30), np.uint8))
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a.npy: the volume does not say where its voxels lie in mm"):
        points()


def test_files_without_partner(folder):
    (folder / "sub" / "two.nii").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"two.mrk.json: there is no image 'sub/two' .*1 of 2 markups"
    ):
        SlicerMarkups(data_root=str(folder))
    assert len(SlicerMarkups(data_root=str(folder), missing_images="drop")) == 1
    (folder / "one.nii").unlink()
    with pytest.raises(FileNotFoundError, match=r"none of 2 markups has an image"):
        SlicerMarkups(data_root=str(folder), missing_images="drop")
    with pytest.raises(FileNotFoundError, match=r"no \*\{.mrk.json,.fcsv\} below"):
        SlicerMarkups("nothing", str(folder))


def test_a_full_name_chooses_among_images_of_one_stem(tmp_path):
    for suffix, shape in (("png", (20, 30)), ("jpg", (40, 50))):
        write_cv(tmp_path / f"same.{suffix}", np.zeros(shape, np.uint8), None)
        save(tmp_path / f"same.{suffix}.mrk.json", [[shape[1] - 2, shape[0] - 2, 0]] * 3)
    records = SlicerMarkups(data_root=str(tmp_path)).load_records()
    assert [(one["sample_id"], one["ori_shape"]) for one in records] == [
        ("same.jpg", (40, 50)),
        ("same.png", (20, 30)),
    ]
    assert [os.path.basename(one["img_path"]) for one in records] == ["same.jpg", "same.png"]
    save(tmp_path / "same.mrk.json", [[1, 2, 0]] * 3)
    with pytest.raises(ValueError, match=r"same.png.mrk.json: .*same.mrk.json is of the same image; keep"):
        SlicerMarkups(data_root=str(tmp_path))


def test_two_files_for_an_image_and_other_names(folder):
    shutil.copy(folder / "one.mrk.json", folder / "one.fcsv")
    with pytest.raises(ValueError, match=r"one.mrk.json: .*one.fcsv is there too; keep one file of markups"):
        SlicerMarkups(data_root=str(folder))
    (folder / "one.fcsv").unlink()
    save(folder / "sub" / "two.mrk.json", apply_matrix(WORLD, PLACES)[1:], names="xc")
    with pytest.raises(
        ValueError, match=r"two.mrk.json: points \['x'\] are not in .*one.mrk.json, the file with"
    ):
        SlicerMarkups(data_root=str(folder))
    with pytest.raises(ValueError, match=r"names_from must be 'label' or 'description', got 'id'"):
        SlicerMarkups(data_root=str(folder), names_from="id")


@pytest.mark.real_data
def test_mouse_skulls(real_data):
    """45 labels, not contiguous, in LPS; the volumes are NIfTI in RAS."""
    data = SlicerMarkups("target_LMs", str(real_data("mouse_ct_3d")), "targets")
    assert len(data) == 20
    assert len(data.schema) == 45
    assert "23" not in data.schema.landmarks
    for index in range(20):
        record = data.get_data_info(index)
        size = np.array(record["ori_shape"][::-1])
        assert ((record["landmarks"] > -0.5) & (record["landmarks"] < size - 0.5)).all()
        assert record["spacing"] == pytest.approx((0.141,) * 3, abs=0.001)
    # The volume is bright where a point of the skull is, on average.
    sample = SlicerMarkups(
        "target_LMs", str(real_data("mouse_ct_3d")), "targets", indices=1,
        pipeline=[dict(type="LoadImage"), dict(type="PackInputs")],
    )[0]  # fmt: skip
    volume = sample["inputs"][0].numpy()
    places = sample["data_samples"].to_input(sample["data_samples"].gt_landmarks).numpy().round().astype(int)
    assert volume[tuple(places.T[::-1])].mean() > 2 * volume.mean()


@pytest.mark.real_data
def test_misaligned_mouse_skulls_are_refused(real_data, tmp_path):
    folder = real_data("mouse_ct_3d")
    image = sorted((folder / "targets").glob("*.nii.gz"))[0]
    files = sorted((folder / "misaligned_LMs").glob("*.mrk.json"))
    assert len(files) == 21
    for path in files:
        for old in tmp_path.iterdir():
            old.unlink()
        stem = path.name.removesuffix(".mrk.json")
        (tmp_path / f"{stem}.nii.gz").symlink_to(image)
        shutil.copy(path, tmp_path)
        with pytest.raises(ValueError, match=r"45 of 45 points lie outside .*LPS and RAS are mixed up"):
            SlicerMarkups(data_root=str(tmp_path))


@pytest.mark.real_data
def test_brain_template(real_data, tmp_path):
    """A file in RAS with names in the description, and an image of another ending."""
    folder = real_data("afids_brain")
    for path in [*folder.glob("tpl-*.fcsv"), *folder.glob("tpl-*.nii.gz")]:
        (tmp_path / path.name).symlink_to(path)
    data = SlicerMarkups(
        data_root=str(tmp_path), image_ending="_res-02_T1w", markups_ending="_afids", names_from="description"
    )
    record = data.get_data_info(0)
    assert data.schema.landmarks[:2] == ("AC", "PC")
    frame = image_frame(record["img_path"])
    there = apply_matrix(frame, record["landmarks"].astype(np.float64))
    assert there[0] == pytest.approx([0.231, -2.93275, -4.899], abs=1e-4)
    # AC lies 28 mm in front of PC.
    assert np.linalg.norm(there[0] - there[1]) == pytest.approx(28.14, abs=0.01)
