"""What volumes show: they are decoded once, copies are found, and points that do not belong to them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset, PhantomDataset, volume_images
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.volume_images import reduced
from mmlandmark.structures import world_matrix
from mmlandmark.visualization.check_pictures import SeenVolumes, draw_check_pictures

SIZE = np.array([40, 36, 32])  # x, y, z
LANDMARKS = [f"p{k}" for k in range(8)]
PLACES = np.array(
    [[9, 8, 7], [28, 10, 8], [14, 26, 9], [22, 17, 24], [10, 20, 22], [30, 27, 20], [20, 8, 15], [26, 22, 6]]
)


def scan(points, rng):
    """Return a volume (32, 36, 40) with a bright ball of its own size and brightness at every point."""
    z, y, x = np.mgrid[:32, :36, :40]
    volume = rng.normal(300, 20, (32, 36, 40))
    for k, (a, b, c) in enumerate(points):
        distance = np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2)
        volume += 200 * (2 + k) * np.clip(2.5 + 0.3 * k - distance, 0, 1)
    return volume.astype(np.int16)


def written(folder, change=lambda n, points: points, count=12, extra=()):
    """Return a dataset of ``count`` volumes as NIfTI, every third one stored with z downwards."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    samples = []
    for n in range(count):
        points = PLACES + rng.normal(0, 1, (8, 3)) + rng.normal(0, 1.5, 3)
        volume, direction = scan(points, rng), np.eye(3)
        if n % 3 == 0:
            volume, direction = volume[::-1], np.diag([1.0, 1, -1])
            points = points * [1, 1, -1] + [0, 0, 31]
        write_nifti(folder / f"{n}.nii", volume, None, world_matrix((1, 1, 1), direction=direction))
        samples.append(dict(id=str(n), image=f"{n}.nii", landmarks=change(n, points).tolist()))
    schema = dict(name="balls", landmarks=LANDMARKS, dims=3)
    (folder / "a.json").write_text(json.dumps(dict(schema=schema, samples=[*samples, *extra])))
    return LandmarkDataset("a.json", str(folder), pipeline=[dict(type="LoadImage", value_range=(0, 2500))])


def findings(dataset, **more):
    report = check_dataset(dict(train=dataset), images=True, **more)
    return [f for f in report["findings"] if f["severity"] != "note"]


def test_clean_volumes_stay_quiet(tmp_path):
    assert findings(written(tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, points: points * [-1, -1, 1] + [39, 35, 0], "x and y are mirrored: are they in RAS"),
        (lambda n, points: points * [1, 1, -1] + [0, 0, 31], "z is mirrored"),
        (lambda n, points: points[:, ::-1], "its axes are taken in the order z, y, x"),
    ],
)
def test_a_whole_file_with_other_axes(tmp_path, change, words):
    """All points agree with each other; what the volumes show does not."""
    found = findings(written(tmp_path, change))
    (whole,) = [f for f in found if f["check"] == "axes of a volume" and not f["sample_id"]]
    assert words in whole["message"]


def test_the_landmarks_of_another_volume(tmp_path):
    given = {}

    def exchanged(n, points):
        given[n] = points
        return given[n] if n != 7 else given[4] + [4, -3, 2]

    found = findings(written(tmp_path, exchanged, count=22))
    assert ("image does not fit", "7") in {(f["check"], f["sample_id"]) for f in found}


@pytest.mark.slow
def test_a_copy_in_another_orientation_and_type(tmp_path):
    dataset = written(tmp_path)
    volume = scan(PLACES, np.random.default_rng(9))
    write_nifti(tmp_path / "one.nii", volume, None, world_matrix((1, 1, 1)))
    turned = world_matrix((1, 1, 1), (39, 35, 0), np.diag([-1, -1, 1]))
    write_nifti(tmp_path / "two.nii", (volume[:, ::-1, ::-1] * 0.5).astype(np.float32), None, turned)
    other = PLACES * [-1, -1, 1] + [39, 35, 0]
    extra = [
        dict(id="one", image="one.nii", landmarks=PLACES.tolist()),
        dict(id="two", image="two.nii", landmarks=(other + 0.3).tolist()),
    ]
    assert findings(dataset) == []
    found = findings(written(tmp_path, extra=extra))
    assert {(f["check"], f["sample_id"]) for f in found} >= {("image copy", "two")}
    assert "'one'" in next(f["message"] for f in found if f["check"] == "image copy")


def test_every_volume_is_decoded_once_also_to_be_drawn(tmp_path, monkeypatch):
    def marked(n, points):
        return np.where((np.arange(8) == 3)[:, None], 0, points) if n == 5 else points

    dataset = written(tmp_path, marked)
    decoded: Counter[str] = Counter()
    read = volume_images.read_image
    for module in ("mmlandmark.datasets.volume_images", "mmlandmark.datasets.image_io"):
        monkeypatch.setattr(
            f"{module}.read_image", lambda path, *a, **k: decoded.update([str(path)]) or read(path, *a, **k)
        )
    seen = SeenVolumes(dict(train=dataset))
    report = check_dataset(dict(train=dataset), images=True, see=seen.see)
    assert ("placeholder", "5") in {(f["check"], f["sample_id"]) for f in report["findings"]}
    drawn = draw_check_pictures(dict(train=dataset), report, tmp_path / "report", seen=seen)
    assert ("train", "5") in drawn.samples
    assert set(drawn.sheets) == {"train"}
    assert set(decoded.values()) == {1}
    assert len(decoded) == 12


def test_broken_and_odd_volumes_are_named(tmp_path):
    dataset = written(tmp_path)
    bad = np.full((32, 36, 40), 7, np.float32)
    write_nifti(tmp_path / "11.nii", bad, None, world_matrix((1, 1, 1)))
    bad[3, 4, 5] = np.nan
    write_nifti(tmp_path / "4.nii", bad, None, world_matrix((1, 1, 1)))
    content = (tmp_path / "8.nii").read_bytes()
    (tmp_path / "8.nii").write_bytes(content[: len(content) // 2])
    found = {(f["check"], f["sample_id"]) for f in findings(dataset)}
    assert {("constant image", "11"), ("pixels not finite", "4"), ("broken image", "8")} <= found


def test_volumes_that_a_dataset_makes_are_looked_at(monkeypatch):
    dataset = PhantomDataset("head", 3, size=(16, 16, 16), pipeline=[dict(type="LoadImage")])
    shown = []
    report = check_dataset(
        dict(train=dataset), images=True, see=lambda split, index, image, found: shown.append(image)
    )
    assert len(shown) == 3
    assert all(image.world_from_original is not None for image in shown)
    assert {f["check"] for f in report["findings"]} <= {"small range", "large range"}


def test_reduced_volumes_keep_their_proportions():
    volume = np.zeros((20, 130, 260), np.uint8)
    volume[10:, 65:, 130:] = 200
    small = reduced(volume)
    assert small.shape == (5, 32, 64)
    assert small.dtype == np.float32
    assert small[:2, :15, :31].max() == 0
    assert small[3:, 17:, 33:].min() == pytest.approx(1)
