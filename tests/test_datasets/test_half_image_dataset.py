"""Halves of images are cases of their own, and lead back to the whole."""

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import HalfImageDataset
from mmlandmark.datasets.transforms import LoadImage, PackInputs, Resample, Resize, TakeHalf

SIZE = (40, 61)  # odd: the middle column belongs to both halves
LEFT = [[10.0, 5.0], [20.0, 30.0], [29.0, 12.0]]
RIGHT = [[50.0, 5.0], [40.0, 30.0], None]
NAMES = ["l_rim", "l_head", "l_neck", "r_rim", "r_head", "r_neck"]


@pytest.fixture
def folder(tmp_path):
    image = np.zeros(SIZE, np.uint8)
    for point in (*LEFT, *RIGHT[:2]):
        image[int(point[1]), int(point[0])] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "b.png"), image[:, ::-1])
    mirrored = [None if p is None else [SIZE[1] - 1 - p[0], p[1]] for p in (*RIGHT, *LEFT)]
    cases = [
        dict(id="a", image="a.png", landmarks=[*LEFT, *RIGHT], spacing=0.5),
        dict(id="b", image="b.png", landmarks=mirrored, group="patient7"),
    ]
    text = dict(schema=dict(name="hips", landmarks=NAMES), samples=cases)
    (tmp_path / "all.json").write_text(json.dumps(text))
    return tmp_path


def halves(folder, size=None, **options):
    steps = [LoadImage(channels=1), TakeHalf(), *([Resize(size)] if size else []), Resample(), PackInputs()]
    options = dict(left=NAMES[:3], right=NAMES[3:], pipeline=steps, serialize_data=False) | options
    return HalfImageDataset(ann_file=str(folder / "all.json"), data_root=str(folder), **options)


def test_every_image_gives_two_cases(folder):
    data = halves(folder)
    records = [data.get_data_info(i) for i in range(len(data))]
    assert [r["sample_id"] for r in records] == ["a_left", "a_right", "b_left", "b_right"]
    assert [r["group"] for r in records] == ["a", "a", "patient7", "patient7"]
    assert data.metainfo["landmark_names"] == NAMES[:3]
    assert records[1]["spacing"] == (0.5, 0.5)
    np.testing.assert_array_equal(records[0]["landmarks"], LEFT)
    assert np.isnan(records[1]["landmarks"][2]).all()


def test_a_right_half_looks_like_a_left_one(folder):
    data = halves(folder)
    a_left, a_right, b_left, b_right = (data[i] for i in range(4))
    assert a_left["inputs"].shape == (1, 40, 31)
    # Image b is image a in a mirror.
    assert a_left["inputs"].equal(b_right["inputs"])
    assert a_right["inputs"].equal(b_left["inputs"])
    points = a_right["data_samples"].to_input(a_right["data_samples"].gt_landmarks)
    np.testing.assert_allclose(points[:2], [[10, 5], [20, 30]], atol=1e-4)
    for case in (a_left, a_right):
        sample = case["data_samples"]
        for x, y in sample.to_input(sample.gt_landmarks)[sample.mask].round().int().tolist():
            assert case["inputs"][0, y, x] == 255, "the landmark lies on its pixel"


@pytest.mark.parametrize("size", [None, (64, 32)])
def test_there_and_back(folder, size):
    data = halves(folder, size)
    found = []
    for i in range(2):
        sample = data[i]["data_samples"]
        found.append(sample.to_original(sample.to_input(sample.gt_landmarks)).numpy())
    whole = data.join(*found)
    np.testing.assert_allclose(whole[:5], [*LEFT, *RIGHT[:2]], atol=1e-3)
    assert np.isnan(whole[5]).all()


def test_several_readers(folder):
    text = json.loads((folder / "all.json").read_text())
    points = text["samples"][0]["landmarks"]
    text["samples"] = [dict(text["samples"][0], by_annotator=[points, [*points[:5], [44, 12]]])]
    (folder / "all.json").write_text(json.dumps(text))
    record = halves(folder).get_data_info(1)
    assert record["by_annotator"].shape == (2, 3, 2)
    np.testing.assert_array_equal(record["by_annotator"][1, 2], [44, 12])


def test_its_landmarks_are_known_before_anything_is_read(folder):
    data = halves(folder, schema=dict(name="hips", landmarks=NAMES), lazy_init=True)
    assert data.metainfo["num_landmarks"] == 3


def test_folds_do_not_part_an_image(folder):
    one, other = (
        {r["sample_id"][0] for r in (d.get_data_info(i) for i in range(len(d)))}
        for d in (halves(folder, fold=0, num_folds=2, fold_split=None, split=s) for s in ("train", "test"))
    )
    assert one.isdisjoint(other)
    assert halves(folder, num_folds=2, fold=0).available_folds() == ["0", "1"]


def test_images_of_one_patient_stay_together(folder):
    text = json.loads((folder / "all.json").read_text())
    first = text["samples"][0]
    text["samples"] = [dict(first, id=f"pat{i // 2}_view{i % 2}") for i in range(6)]
    (folder / "all.json").write_text(json.dumps(text))
    parts = [halves(folder, group_pattern=r"(pat\d+)_", num_folds=3, fold=fold) for fold in range(3)]
    people = [{d.get_data_info(i)["group"] for i in range(len(d))} for d in parts]
    assert sorted(p for found in people for p in found) == ["pat0", "pat1", "pat2"]


def test_some_landmarks_of_each_half_lead_back_to_the_whole(folder):
    data = halves(folder, landmarks=[NAMES[0], NAMES[2]])
    whole = data.join(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]))
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(whole, [[1, 2], nothing, [3, 4], [5, 6], nothing, [7, 8]])


@pytest.mark.parametrize("count", [3, 9])
def test_a_list_of_wrong_length_is_named(folder, count):
    text = json.loads((folder / "all.json").read_text())
    text["samples"][0]["visibility"] = [1] * count
    (folder / "all.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match=rf"all.json.*'a'.* visibility .*6 entries.*{count}"):
        halves(folder)


def test_halves_may_overlap():
    step = TakeHalf(overlap=0.2)
    frame = dict(sample_id="x", half="left", input_shape=(40, 60), input_from_original=np.eye(3))
    assert step(frame)["input_shape"] == (40, 36)


def test_mistakes_are_named(folder):
    with pytest.raises(ValueError, match="as many"):
        halves(folder, left=[0, 1], right=[3])
    with pytest.raises(ValueError, match="different landmarks"):
        halves(folder, left=[0, 1], right=[1, 3])
    with pytest.raises(ValueError, match="overlap"):
        TakeHalf(overlap=2)
    frame = dict(sample_id="x", input_shape=(4, 6), input_from_original=np.eye(3))
    with pytest.raises(ValueError, match="use it with HalfImageDataset"):
        TakeHalf()(frame)
