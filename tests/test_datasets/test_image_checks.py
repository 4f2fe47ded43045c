"""What images tell: copies under other names, points that fit better upside down, the wrong image."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.image_checks import Pictures, flipped_fits_better
from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.datasets.readers.loaded_image import reorder
from mmlandmark.datasets.readers.raster import upright_matrix
from mmlandmark.datasets.releases import Isbi2015Cephalogram
from mmlandmark.structures import apply_matrix


@pytest.fixture(scope="module")
def hands():
    """Images and points of 24 phantoms."""
    return [render_phantom("hand", 0, index, (160, 112))[:2] for index in range(24)]


def dataset(folder, cases, suffixes=(".png",), schema="hand_atlas", **more):
    """A dataset of (image, points); ``more`` holds one list per key."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for n, (image, points) in enumerate(cases):
        name = f"{folder.name}{n}{suffixes[n % len(suffixes)]}"
        assert cv2.imwrite(str(folder / name), image)
        samples.append(dict(image=name, landmarks=points.tolist(), **{k: v[n] for k, v in more.items()}))
    (folder / "a.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    return LandmarkDataset("a.json", str(folder))


def of_check(report, check):
    return {f["sample_id"] for f in report["findings"] if f["check"] == check}


def test_clean_images_are_quiet(hands, tmp_path):
    read = []
    report = check_dataset(
        dict(train=dataset(tmp_path / "t", hands)), images=True, progress=lambda *n: read.append(n)
    )
    assert report["findings"] == []
    assert read[-1] == (24, 24)


def tagged(folder, cases, tags):
    """A dataset of photographs as a camera stores them that was turned, and points on these pixels."""
    turned = []
    for n, (image, points) in enumerate(cases):
        tag, shape = tags[n % len(tags)], image.shape[:2]
        shown = upright_matrix(tag, shape[::-1] if tag > 4 else shape)
        stored = np.linalg.inv(shown)
        turned.append((reorder(image, stored, 2), apply_matrix(stored, points)))
    data = dataset(folder, turned, suffixes=(".jpg",))
    for n in range(len(cases)):
        path = folder / f"{folder.name}{n}.jpg"
        exif = Image.Exif()
        exif[274] = tags[n % len(tags)]
        Image.open(path).save(path, quality=95, exif=exif)
    return data


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,  # another format alone
        lambda image: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        lambda image: cv2.resize(image, None, fx=2, fy=2),
        lambda image: (0.7 * image + 20).astype(np.uint8),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 15])[1], 0),
    ],
)
def test_copies_with_other_bytes_are_leaks(hands, tmp_path, change):
    copied = (change(hands[3][0]), hands[20][1])
    train = dataset(tmp_path / "a", hands[:14])
    test = dataset(tmp_path / "b", [*hands[14:19], copied, *hands[19:]], suffixes=(".bmp",))
    report = check_dataset(dict(train=train, test=test), images=True)
    assert of_check(report, "image copy leak") == {"a3", "b5"}
    assert {f["severity"] for f in report["findings"] if f["check"] == "image copy leak"} == {"error"}
    assert not of_check(report, "image leak")
    assert not of_check(check_dataset(dict(train=train, test=test)), "image copy leak")  # reads no pixels


@pytest.mark.parametrize("tags", [(3,), (8,), (1, 1, 1, 1, 1, 6), (1, 2)], ids=str)
def test_photographs_with_an_orientation_tag_are_compared_upright(hands, tmp_path, tags):
    data = tagged(tmp_path / "t", hands, tags)
    report = check_dataset(dict(train=data), images=True)
    assert set(report["summary"]) == {"orientation tag"}
    cases = Cases(dict(train=data))
    assert flipped_fits_better(cases, Pictures(cases)) < -4
    upside_down = LandmarkDataset("a.json", str(tmp_path / "t"), y_up=True)
    cases = Cases(dict(train=upside_down))
    assert flipped_fits_better(cases, Pictures(cases)) > 4


def test_copies_in_one_split_are_a_warning(hands, tmp_path):
    report = check_dataset(
        dict(
            train=dataset(
                tmp_path / "a", [*hands, (hands[3][0], hands[4][1])], suffixes=(".png",) * 24 + (".bmp",)
            )
        ),
        images=True,
    )
    assert of_check(report, "image copy") == {"a24"}
    assert "a3" in next(f["message"] for f in report["findings"] if f["check"] == "image copy")


def test_y_from_the_bottom_shows_on_the_images(hands, tmp_path):
    flipped = [(image, points * [1, -1] + [0, 159]) for image, points in hands]
    data = dataset(tmp_path / "t", flipped)
    assert of_check(check_dataset(dict(train=data), images=True), "y from the bottom") == {""}
    nameless = dataset(tmp_path / "n", flipped, schema=dict(name="x", landmarks=[f"p{k}" for k in range(37)]))
    assert not of_check(check_dataset(dict(train=nameless)), "y from the bottom")
    report = check_dataset(dict(train=nameless), images=True)
    assert of_check(report, "y from the bottom") == {""}
    (finding,) = report["findings"]
    assert finding["severity"] == "warning"
    assert "fit their images better" in finding["message"]


def test_broken_pixels_and_odd_ranges_are_found(hands, tmp_path):
    data = dataset(tmp_path / "t", [(image.astype(np.uint16) * 16, points) for image, points in hands])
    whole = (tmp_path / "t" / "t2.png").read_bytes()
    (tmp_path / "t" / "t2.png").write_bytes(whole[: len(whole) // 2])
    report = check_dataset(dict(train=data), images=True)
    assert of_check(report, "broken image") == {"t2"}
    assert of_check(report, "small range")


def test_every_image_is_looked_at_for_pixels_that_are_not_finite(hands, tmp_path):
    folder, samples = tmp_path / "t", []
    folder.mkdir()
    for n, (image, points) in enumerate(hands):
        picture = image.astype(np.float32) / 255
        picture[:2, :3] = np.nan if n == 5 else 0  # the sixth is none of the few that tell range and depth
        np.save(folder / f"{n}.npy", picture)
        samples.append(dict(image=f"{n}.npy", landmarks=points.tolist()))
    (folder / "a.json").write_text(json.dumps(dict(schema="hand_atlas", samples=samples)))
    report = check_dataset(dict(train=LandmarkDataset("a.json", str(folder))), images=True)
    (finding,) = report["findings"]
    assert (finding["severity"], finding["check"], finding["sample_id"]) == (
        *("error", "pixels not finite"),
        "5",
    )
    assert "6 of 17920 pixels" in finding["message"]
    filled = LandmarkDataset("a.json", str(folder), pipeline=[dict(type="LoadImage", fill_value=0.0)])
    assert check_dataset(dict(train=filled), images=True)["findings"] == []


@pytest.mark.slow
@pytest.mark.real_data
def test_films_that_isbi_has_twice(real_data):
    root = str(real_data("isbi2015_ceph"))
    splits = {s: Isbi2015Cephalogram(data_root=root, split=s) for s in ("train", "test1")}
    report = check_dataset(splits, images=True)
    assert of_check(report, "image leak") == {"038", "283", "144", "173"}
    copies = of_check(report, "image copy leak")
    assert {"088", "297", "103", "201"} <= copies
    assert len(copies) == 36
    assert not {"154", "211", "223", "265"} & copies  # alike, of two patients
    assert not of_check(report, "y from the bottom") | of_check(report, "image does not fit")
