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
from mmlandmark.testing.volume_files import write_dicom_series

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
        match=r"one.mrk.json: all 3 points lie outside of the image; negating x and y puts them inside: RA",
    ):
        SlicerMarkups(data_root=str(folder))
    save(folder / "one.mrk.json", apply_matrix(WORLD, PLACES) + 500)
    with pytest.raises(ValueError, match=r"they were set in another image or frame"):
        SlicerMarkups(data_root=str(folder))


def test_the_file_of_another_case_is_told(folder):
    """Where two cases lie in other places, the points of one fit the other."""
    there = WORLD.copy()
    there[:3, 3] += 400
    write_nifti(folder / "sub" / "two.nii", np.zeros(SIZE, np.uint8), None, there)
    save(folder / "sub" / "two.mrk.json", apply_matrix(WORLD, PLACES))
    with pytest.raises(
        ValueError,
        match=r"two.mrk.json: all 3 points lie outside of the image; they fit 'one': is this the file of ano",
    ):
        SlicerMarkups(data_root=str(folder))
    # Another reading puts two of the three inside by chance.
    there = WORLD.copy()
    there[:3, 3] = [-5, 25, 5]
    write_nifti(folder / "sub" / "two.nii", np.zeros(SIZE, np.uint8), None, there)
    with pytest.raises(ValueError, match=r"puts 2 of 3 inside: RAS\?; they fit 'one': is this"):
        SlicerMarkups(data_root=str(folder))


@pytest.mark.parametrize(
    ("text", "system", "coordinates"),
    [
        ("label,l,p,s\n", "LPS", None),
        ("label,r,a,s\n", "RAS", "LPS"),  # what the file says counts
        ("label,i,j,k\n", "pixels", None),
        ("name,x,y,z\n", "pixels", "pixels"),
        ("", "RAS", "RAS"),
        ("# CoordinateSystem = LPS\n", "LPS", None),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_tables_in_voxels_and_in_mm(folder, text, system, coordinates, suffix):
    places = {
        "LPS": apply_matrix(WORLD, PLACES),
        "RAS": apply_matrix(WORLD, PLACES) * [-1, -1, 1],
        "pixels": PLACES,
    }
    lines = [
        f"{name},{','.join(map(str, point))}\n" for name, point in zip("abc", places[system], strict=True)
    ]
    for old in (folder / "one.mrk.json", folder / "sub" / "two.mrk.json"):
        old.unlink()
    (folder / f"one{suffix}").write_text(text + "".join(lines))
    (folder / "notes.txt").write_text("no landmark in here\n")  # of no image
    data = SlicerMarkups(data_root=str(folder), coordinates=coordinates)
    assert len(data) == 1
    record = data.get_data_info(0)
    np.testing.assert_allclose(record["landmarks"], PLACES, atol=1e-4)
    np.testing.assert_allclose(record["spacing"], (0.5, 1, 2), rtol=1e-6)


def test_a_table_that_does_not_say_what_it_holds(folder):
    for old in (folder / "one.mrk.json", folder / "sub" / "two.mrk.json"):
        old.unlink()
    lines = [",".join(map(str, point)) + "\n" for point in apply_matrix(WORLD, PLACES)]
    (folder / "one.csv").write_text("".join(lines))
    with pytest.raises(
        ValueError,
        match=r"one.csv: the file does not say whether its numbers are voxels or mm; of 3 points 0 as pixels"
        r", 3 as LPS, 0 as RAS lie inside of the image: give the data set coordinates='LPS', if ",
    ):
        SlicerMarkups(data_root=str(folder))
    with pytest.raises(
        ValueError,
        match=r"one.csv: all 3 points lie outside of the image; taking them as mm puts them .* LPS\?",
    ):
        SlicerMarkups(data_root=str(folder), coordinates="pixels")
    record = SlicerMarkups(data_root=str(folder), coordinates="LPS").get_data_info(0)
    np.testing.assert_allclose(record["landmarks"], PLACES, atol=1e-4)
    schema = dict(name="three", landmarks=["c", "b", "a"], dims=3)  # points without names are in its order
    named = SlicerMarkups(data_root=str(folder), coordinates="LPS", schema=schema).get_data_info(0)
    np.testing.assert_allclose(named["landmarks"], PLACES, atol=1e-4)
    with pytest.raises(ValueError, match=r"one.csv: 3 points without names, but there are 2 landmarks"):
        SlicerMarkups(
            data_root=str(folder), coordinates="LPS", schema=dict(name="two", landmarks=["c", "b"], dims=3)
        )
    with pytest.raises(ValueError, match=r"coordinates must be one of \('pixels', 'LPS', 'RAS'\) or None"):
        SlicerMarkups(data_root=str(folder), coordinates="lps")


def test_head_cbct_of_dicom_slices_with_33_points_in_a_table(tmp_path):
    """A case is a folder of slices and a table of x, y, z in mm, as DICOM has them."""
    pytest.importorskip("pydicom")
    rng = np.random.default_rng(0)
    world = world_matrix((0.3, 0.3, 0.3), (-20, -30, 100))
    places = {}
    for case in ("head 1", "head 2"):
        volume = rng.integers(0, 4096, (20, 24, 28)).astype(np.uint16)
        write_dicom_series(tmp_path / "volumes" / case, volume, world, intercept=-1000)
        places[case] = rng.uniform(0, (27, 23, 19), (33, 3))
        lines = [f"{x:.5f},{y:.5f},{z:.5f}\n" for x, y, z in apply_matrix(world, places[case])]
        (tmp_path / "points").mkdir(exist_ok=True)
        (tmp_path / "points" / f"{case}.csv").write_text("x [mm],y [mm],z [mm]\n" + "".join(lines))
    names = [f"L{n}" for n in range(33)]
    data = SlicerMarkups(
        "points", str(tmp_path), "volumes", schema=dict(name="cbct33", landmarks=names, dims=3),
        pipeline=[dict(type="LoadImage"), dict(type="Resize", size=(12, 16, 16)), dict(type="Resample"),
                  dict(type="PackInputs")],
    )  # fmt: skip
    assert [data.get_data_info(n)["sample_id"] for n in range(2)] == ["head 1", "head 2"]
    for n, case in enumerate(places):
        sample = data[n]["data_samples"]
        np.testing.assert_allclose(sample.gt_landmarks, places[case], atol=1e-3)
        np.testing.assert_allclose(sample.spacing, (0.3, 0.3, 0.3))
        assert data[n]["inputs"].shape == (1, 12, 16, 16)


def test_other_files_count_only_where_there_are_none_of_slicer(folder):
    (folder / "one.json").write_text("{}")  # what a scanner said, say
    assert len(SlicerMarkups(data_root=str(folder))) == 2


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
    with pytest.raises(FileNotFoundError, match=r"no \*\{.mrk.json,.fcsv,.json,.csv,.tsv,.txt\} below"):
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
        ValueError, match=r"two.mrk.json: points \['x'\] are not in .*one.mrk.json, whose names are the most"
    ):
        SlicerMarkups(data_root=str(folder))
    # The odd one is blamed, whichever comes first.
    save(folder / "sub" / "two.mrk.json", apply_matrix(WORLD, PLACES))
    shutil.copy(folder / "one.nii", folder / "a.nii")
    save(folder / "a.mrk.json", apply_matrix(WORLD, PLACES), names="abx")
    with pytest.raises(ValueError, match=r"a.mrk.json: points \['x'\] are not in .*one.mrk.json"):
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
        with pytest.raises(
            ValueError, match=r"all 45 points lie outside .* negating x and y puts .* inside: RAS\?"
        ):
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
