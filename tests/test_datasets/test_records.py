"""Bad input to a dataset: one clear error, naming file, line or key, when the dataset is built."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.records import FAR_OUTSIDE, check_frame, in_pixels, turned_y, with_header
from mmlandmark.registry import DATASETS
from mmlandmark.structures import apply_matrix, world_matrix
from test_datasets import six_cases


def build(tmp_path, change=None, rewrite=None, **kwargs):
    """A dataset of three samples of two landmarks, one of them changed."""
    samples = []
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((10, 20), np.uint8))
        samples.append(
            dict(image=f"{name}.png", landmarks=[[1, 2], [3, 4]], width=20, height=10, split="train")
        )
    samples[1].update(change or {})
    data = dict(samples=samples)
    if rewrite:
        rewrite(data)
    (tmp_path / "a.json").write_text(json.dumps(data))
    return LandmarkDataset("a.json", str(tmp_path), **kwargs)


def test_the_unchanged_data_is_good(tmp_path):
    assert len(build(tmp_path)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(landmarks=[[1, 2]]), "1 landmarks, but schema 'numbered2' has 2"),
        (dict(landmarks=[[1, 2], [3, 4], None]), "3 landmarks, but schema 'numbered2' has 2"),
        (dict(landmarks=[[1, 2, 3], [4, 5, 6]]), r"landmarks must be \(2, 2\)"),
        (dict(landmarks=[[1, 2], [3, float("inf")]]), r"landmark 1 \(landmark_2\) is infinite"),
        (dict(landmarks=[[1, 2], [3, float("nan")]]), r"landmark 1 \(landmark_2\) has only some"),
        (dict(landmarks=[[1, 2], [3, None]]), r"landmark 1 \(landmark_2\) has only some"),
        (dict(landmarks=[[1, 2], [3, 2000]]), r"landmark 1 at \[3.0, 2000.0\] is far outside the image"),
        (dict(landmarks=[[-11, 2], [3, 4]]), "landmark 0 .* is far outside"),
        (dict(spacing=0), "spacing must be one or 2 positive numbers"),
        (dict(spacing=[0.1, -1]), "spacing must be"),
        (dict(spacing=[0.1, 0.1, 0.1]), "spacing must be"),
        (dict(spacing=float("nan")), "spacing must be"),
        (dict(spacing="fine"), "spacing 'fine' is not a number"),
        (dict(visibility=[1]), r"visibility must have 2 entries"),
        (dict(visibility=[1, 3]), "visibility must be 1"),
        (dict(weights=[1, -1]), "weights must be finite and not negative"),
        (dict(width=0), "image size"),
        (dict(spacing=True), "spacing True is not a number"),
        (dict(spacing="0.1"), "spacing '0.1' is not a number"),
        (dict(spacing=[0.1, None]), "spacing .* is not a number"),
        (dict(visibility=[1.5, 1]), "visibility must be 1"),
        (dict(visibility="11"), "visibility must have 2 entries, got '11'"),
        (dict(visibility=["1", 1]), "visibility must be a number, got '1'"),
        (dict(weights=[True, 1]), "weights must be a number, got True"),
        (dict(weights=5), "weights must have 2 entries, got 5"),
        (dict(landmarks=[[1e300, 2], [3, 4]]), r"landmark 0 \(landmark_1\) is infinite"),
    ],
)
def test_a_bad_record_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"a\.json, samples\[1\]: sample 'b': {message}"):
        build(tmp_path, change)


def test_a_point_just_outside_is_left_to_the_checker(tmp_path):
    edge = 20 * (1 + FAR_OUTSIDE)
    assert len(build(tmp_path, dict(landmarks=[[edge, 2], [3, 4]]))) == 3


def test_duplicate_ids_name_both_places(tmp_path):
    with pytest.raises(ValueError, match=r"duplicate sample id: .*samples\[0\].*samples\[1\]"):
        build(tmp_path, dict(id="a"))


def test_missing_image(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"1 of 3 images do not exist, first .*gone\.png.*samples\[1\]"
    ):
        build(tmp_path, dict(image="gone.png"))


def test_a_file_without_splits_says_how_to_take_it_whole(tmp_path):
    build(tmp_path)
    path = tmp_path / "a.json"
    content = json.loads(path.read_text())
    for sample in content["samples"]:
        sample.pop("split", None)
    path.write_text(json.dumps(content))
    message = r"split .train. is empty; its samples have no split; split=None .*, ids= a list"
    with pytest.raises(ValueError, match=message):
        LandmarkDataset("a.json", str(tmp_path), split="train")
    assert len(LandmarkDataset("a.json", str(tmp_path), split=None)) == 3


def test_true_and_false_are_visibilities(tmp_path):
    assert build(tmp_path, dict(visibility=[True, False])).get_data_info(1)["visibility"].tolist() == [1, 0]


def test_all_images_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of 3 images exists"):
        build(tmp_path, image_dir="elsewhere", missing_images="drop")


def test_broken_image_is_named_when_it_is_read(tmp_path):
    dataset = build(tmp_path, pipeline=[dict(type="LoadImage")])
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"b\.png"):
        dataset[1]


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_root .*nowhere' does not exist"):
        LandmarkDataset("a.json", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"annotation file .*gone\.json' does not exist"):
        LandmarkDataset("gone.json", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"list of ids .*gone\.txt' does not exist"):
        build(tmp_path, ids="gone.txt")
    with pytest.raises(ValueError, match="needs ann_file"):
        LandmarkDataset(data_root=str(tmp_path))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (dict(split="test"), r"split 'test' is empty; splits found: \['train'\]"),
        (dict(fold=0), "fold 0 is empty; folds found: none"),
        (dict(ids=["a", "z"]), r"ids: 1 of 2 ids are not in .* e\.g\. \['z'\]"),
        (dict(ids=["a", "a"]), r"ids listed twice: \['a'\]"),
        (dict(ids=[]), "no ids"),
        (dict(num_folds=3), "num_folds gives the number"),
        (dict(num_folds=4, fold=0), "num_folds must be between 2 and the number of groups, 3"),
        (dict(landmarks=["nose"]), "landmarks: 'nose' is not in schema"),
        (dict(landmarks=[2]), "landmarks: 2 is not in schema"),
        (dict(landmarks=[1, 1]), "none twice"),
        (dict(spacing=-0.1), "spacing must be"),
        (dict(seed=-1), "seed must be an integer"),
        (dict(missing_images="ignore"), "missing_images must be"),
        (dict(schema=dict(name="three", landmarks=["x", "y", "z"])), "2 landmarks, but schema 'three' has 3"),
    ],
)
def test_a_bad_argument_is_named(tmp_path, selection, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **selection)


def test_empty_file(tmp_path):
    with pytest.raises(ValueError, match="no records are left"):
        build(tmp_path, rewrite=lambda data: data["samples"].clear())


def test_unannotated_data_needs_a_schema(tmp_path):
    def strip(data):
        for sample in data["samples"]:
            sample["landmarks"] = None

    with pytest.raises(ValueError, match="no record has landmarks; give schema="):
        build(tmp_path, rewrite=strip)
    dataset = build(tmp_path, rewrite=strip, schema="hand_atlas")
    assert np.isnan(dataset[0]["landmarks"]).all()
    assert dataset[0]["landmarks"].shape == (37, 2)


def test_unknown_schema_lists_the_shipped_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match="hand_atlas"):
        build(tmp_path, schema="hands")


def test_unknown_argument_and_unknown_type(tmp_path):
    with pytest.raises(TypeError, match="image_folder"):
        DATASETS.build(dict(type="LandmarkDataset", image_folder="x"))
    with pytest.raises(KeyError, match="Did you mean LandmarkDataset"):
        DATASETS.build(dict(type="LandmarkDatset"))


def test_a_pipeline_that_loses_its_sample_is_named(tmp_path):
    dataset = build(tmp_path, pipeline=[lambda results: None])
    with pytest.raises(RuntimeError, match=r"returned None for .*samples\[2\]: sample 'c'"):
        dataset[2]


# ---- y from the bottom ---------------------------------------------------------------------------------


def test_y_that_counts_from_the_bottom(root):
    plain, turned = six_cases.build(root), six_cases.build(root, y_up=True)
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(b["landmarks"][:, 0], a["landmarks"][:, 0])
        np.testing.assert_array_equal(b["landmarks"][:, 1], 20 - 1 - a["landmarks"][:, 1])


def test_y_that_counts_from_the_bottom_in_a_table(root):
    (root / "all.csv").write_text("image,a_x,a_y\ncase1.png,3,0\ncase2.png,,\n")
    dataset = LandmarkDataset("all.csv", str(root), "images", y_up=True)
    assert dataset[0]["landmarks"].tolist() == [[3, 19]]  # the bottom row of 20
    assert dataset[0]["ori_shape"] == (20, 30)
    assert np.isnan(dataset[1]["landmarks"]).all()


def test_annotators_that_count_from_the_bottom(root):
    samples = [dict(id="case1", image="case1.png", by_annotator=[[[1, 0]], [[1, 2]]])]
    (root / "two.json").write_text(json.dumps(dict(samples=samples)))
    record = LandmarkDataset("two.json", str(root), "images", y_up=True)[0]
    assert record["by_annotator"].tolist() == [[[1, 19]], [[1, 17]]]
    assert record["landmarks"].tolist() == [[1, 18]]


def test_y_up_needs_the_height_and_says_what_it_does(root, monkeypatch):
    said = []
    monkeypatch.setattr("mmlandmark.datasets.landmark_dataset.print_log", lambda text, *_: said.append(text))
    assert len(six_cases.build(root, y_up=True)) == 6
    assert len(said) == 1
    assert "y_up, so y of 6 samples became H - 1 - y" in said[0]
    (root / "bare.json").write_text(
        json.dumps(dict(samples=[dict(id="x", image="x.png", landmarks=[[1, 2]])]))
    )
    with pytest.raises(ValueError, match=r"bare\.json, samples\[0\].*y_up counts from the image's bottom"):
        LandmarkDataset("bare.json", str(root), missing_images="keep", y_up=True)


def test_points_without_y_cannot_be_turned():
    with pytest.raises(ValueError, match=r"sample 'a': points of \(1,\) coordinates have no y to turn"):
        turned_y(dict(sample_id="a", landmarks=[[1.0]], ori_shape=(2, 2)))


WORLD = world_matrix((0.5, 1, 2), (100, -200, 50), np.diag([-1, 1, 1]))
VOXELS = np.array([[1, 2, 3], [9, 8, 4], [5, 5, 1]], float)


@pytest.fixture
def volume(tmp_path):
    write_nifti(tmp_path / "a.nii", np.zeros((6, 10, 12), np.uint8), None, WORLD)
    return str(tmp_path / "a.nii")


def test_points_in_mm_become_pixels_by_the_frame_of_their_image(volume):
    record = dict(sample_id="a", img_path=volume, landmarks=apply_matrix(WORLD, VOXELS), in_world="LPS")
    record["by_annotator"] = np.stack([record["landmarks"]] * 2)
    moved = in_pixels(record)
    assert "in_world" not in moved
    np.testing.assert_allclose(moved["landmarks"], VOXELS, atol=1e-4)
    np.testing.assert_allclose(moved["by_annotator"], [VOXELS] * 2, atol=1e-4)
    turned = dict(record, landmarks=record["landmarks"] * [-1, -1, 1], in_world="RAS", by_annotator=None)
    np.testing.assert_allclose(in_pixels(turned)["landmarks"], VOXELS, atol=1e-4)
    assert in_pixels(dict(record, landmarks=None, by_annotator=None))["landmarks"] is None
    with pytest.raises(
        ValueError, match=r"sample 'a': all 3 points lie outside .* negating x and y .* RAS\?"
    ):
        in_pixels(dict(turned, in_world="LPS"))
    with pytest.raises(
        ValueError, match=r"points in mm need the frame of their image, and 'b.nii' does not ex"
    ):
        in_pixels(dict(record, img_path="b.nii"))


def test_a_volume_without_a_frame_takes_no_mm_and_an_image_takes_the_spacing(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((6, 10, 12), np.uint8))
    record = dict(sample_id="a", img_path=str(tmp_path / "a.npy"), landmarks=VOXELS, in_world="LPS")
    with pytest.raises(ValueError, match=r"sample 'a': the image does not say where its pixels lie in mm"):
        in_pixels(record, 0.5)
    np.save(tmp_path / "a.npy", np.zeros((10, 12), np.uint8))
    flat = in_pixels(dict(record, landmarks=VOXELS[:, :2] / 2), 0.5)
    assert flat["landmarks"].tolist() == VOXELS[:, :2].tolist()


def test_a_volume_takes_size_and_spacing_from_its_header(volume):
    record = dict(sample_id="a", img_path=volume, landmarks=VOXELS)
    whole = with_header(record)
    assert (whole["ori_shape"], whole["spacing"]) == ((6, 10, 12), pytest.approx((0.5, 1, 2)))
    assert "spacing" not in with_header(record, 0.3)
    assert with_header(dict(record, spacing=7))["spacing"] == 7
    assert with_header(dict(record, img_path="b.nii")) == dict(record, img_path="b.nii")


def test_numbers_that_are_no_voxels_are_explained(volume):
    for points, likely in (
        (apply_matrix(WORLD, VOXELS), r"taking them as mm puts them inside: LPS\?"),
        (
            apply_matrix(WORLD, VOXELS) * [-1, -1, 1],
            r"taking them as mm with x and y negated puts them .* RAS\?",
        ),
        (
            np.array([[5, 9, 11.4], [4, 8, 11.4], [0, 9, 11.4]]),
            r"reading them as z, y, x puts them inside: array or",
        ),
    ):
        with pytest.raises(ValueError, match=rf"here: most landmarks lie outside of the image; {likely}"):
            check_frame(points, (6, 10, 12), "here", volume)
    check_frame(VOXELS, (6, 10, 12), "here", volume)
