"""The fingerprint of a data set."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmlandmark.planning import DataView, find_data, fingerprint, read_fingerprint, rules
from test_planning.kites import NAMES, write_kites


def fingerprint_of(folder, train=None, **options):
    view = DataView(find_data(folder).build(**options))
    ids = [record["sample_id"] for record in view.cases.records]
    return read_fingerprint(view, view.dataset.schema, ids if train is None else train), view


def test_fingerprint_of_kites(tmp_path):
    write_kites(
        tmp_path / "kites", group=[f"p{n // 2}" for n in range(16)], split=["train"] * 12 + ["test"] * 4
    )
    data, _ = fingerprint_of(tmp_path / "kites", spacing=0.5)
    assert (data.images, data.patients, data.has_groups, data.copies) == (16, 8, True, 0)
    assert data.parts == dict(train=12, test=4)
    assert (data.dims, set(data.landmarks)) == (2, set(NAMES))
    assert (data.missing, data.absent, data.empty_images) == (dict(tail=1), {}, 0)
    assert (data.smallest_size, data.largest_size) == ([48, 64], [60, 80])
    assert data.median_size == [54, 76]
    assert 0.01 < data.aspect_spread < 0.1
    assert (data.spacing, data.spacing_known) == ([0.5, 0.5], 16)
    assert (data.colour, data.bits) == (1.0, 8)
    assert 0 <= data.values[0] < data.values[1] <= 255
    assert 0.35 < data.mean < 0.55
    assert data.border == pytest.approx(120 / 255, abs=0.08)
    assert 5 < data.rotation < 20  # uniform in 20 degrees: 11.5
    assert 0.02 < data.scale < 0.12
    assert data.read_seconds > 0
    json.dumps(data.to_dict(), allow_nan=False)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    path = write_kites(tmp_path / "kites")
    broken = path.parent / "photos" / "kite03.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"kite03\.jpg.*; mmlandmark check finds all that cannot be read"):
        fingerprint_of(path)


def test_images_of_fewer_bits_do_not_hide_that_others_are_dark(tmp_path):
    """12 bits in PNG of 16, beside PNG of 8: what counts of the 16 is what those that have them use."""
    path = write_kites(tmp_path / "kites", count=12)
    for n, photo in enumerate(sorted((path.parent / "photos").iterdir())):
        grey = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)
        image = cv2.imencode(".png", grey if n % 2 else grey.astype(np.uint16) * 16)[1]
        photo.write_bytes(image.tobytes())
    data, _ = fingerprint_of(path)
    choice = rules.choose_value_range(data.bits, data.used, data.values)
    assert choice.value == dict(bits=12)
    grey_range = rules.grey_range(choice.value, data.bits, data.file_range)
    seen = rules.choose_normalisation(data.mean, data.std, data.file_range, grey_range).value
    assert 0.3 < seen["mean"] < 0.6
    assert 0.3 < rules.rescaled(data.border, data.file_range, grey_range) < 0.6


def test_absent_is_not_missing(tmp_path):
    visibility = [[1, 1, 1, 1]] * 12 + [[1, 1, -1, 1]] * 4
    path = write_kites(tmp_path / "kites", "json", visibility=visibility)
    content = json.loads(path.read_text())
    for sample in content["samples"][12:]:
        sample["landmarks"][2] = None
    content["samples"][3]["landmarks"] = None
    path.write_text(json.dumps(content))
    data, _ = fingerprint_of(path)
    assert data.absent == dict(right_wing=4)
    assert data.missing == dict(nose=1, left_wing=1, right_wing=1, tail=2)
    assert data.empty_images == 1


def test_poses_vary_whether_or_not_all_landmarks_are_annotated_yet(tmp_path):
    path = write_kites(tmp_path / "kites", "json")
    content = json.loads(path.read_text())
    for sample in content["samples"]:
        sample["landmarks"][NAMES.index("tail")] = None
    path.write_text(json.dumps(content))
    data, _ = fingerprint_of(path)
    assert data.missing == dict(tail=16)
    assert 5 < data.rotation < 20
    assert 0.02 < data.scale < 0.12


def test_copies_of_a_film_are_one_patient(tmp_path):
    path = write_kites(tmp_path / "kites", "json")
    content = json.loads(path.read_text())
    photos = path.parent / "photos"
    shutil.copy(photos / "kite00.jpg", photos / "same.jpg")
    cv2.imwrite(str(photos / "again.png"), cv2.imread(str(photos / "kite02.jpg")))
    content["samples"] += [
        dict(content["samples"][n], image=name) for n, name in ((0, "same.jpg"), (2, "again.png"))
    ]
    path.write_text(json.dumps(content))
    data, view = fingerprint_of(path)
    groups = dict(zip((r["sample_id"] for r in view.cases.records), view.groups(), strict=True))
    assert (data.images, data.patients) == (18, 16)
    assert groups["kite00"] == groups["same"]
    assert groups["kite02"] == groups["again"]
    assert groups["kite00"] != groups["kite02"]


def test_fingerprint_of_volumes(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "v").mkdir()
    samples = []
    for n in range(6):
        np.save(tmp_path / "v" / f"{n}.npy", rng.integers(-1000, 2000, (10, 12, 14)).astype(np.int16))
        samples.append(
            dict(image=f"{n}.npy", landmarks=rng.uniform(1, 9, (4, 3)).tolist(), spacing=[1, 1, 2])
        )
    schema = dict(name="v", landmarks=["a", "b", "c", "d"], dims=3)
    (tmp_path / "v" / "v.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    data, _ = fingerprint_of(tmp_path / "v")
    assert (data.dims, data.median_size, data.spacing) == (3, [10, 12, 14], [1.0, 1.0, 2.0])
    assert (data.bits, data.colour) == (15, 0.0)
    assert -1000 <= data.values[0] < 0
    assert data.extent == [14.0, 12.0, 20.0]
    assert data.spacing_range == [[1.0, 1.0, 2.0]] * 2
    assert data.orientations == {"": 6}
    assert data.file_range == [0.0, 32767.0]


def test_poses_and_contrast_of_volumes(tmp_path):
    """Heads that nod by a known angle, whose grey values have no common unit, in voxels of 1 x 1 x 2 mm."""
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 10, (6, 3))
    angles = np.linspace(-30, 30, 8)
    samples = []
    for n, angle in enumerate(angles):
        turned = shape @ Rotation.from_rotvec([angle, 0, 0], degrees=True).as_matrix().T
        points = (turned + 30) / [1, 1, 2]
        np.save(tmp_path / f"{n}.npy", (rng.random((30, 60, 60)) * (1 + n) * 100).astype(np.float32))
        samples.append(dict(image=f"{n}.npy", landmarks=points.tolist(), spacing=[1, 1, 2]))
    schema = dict(name="v", landmarks=list("abcdef"), dims=3)
    (tmp_path / "v.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    data, _ = fingerprint_of(tmp_path)
    assert data.rotation == pytest.approx([angles.std(), 0, 0], rel=0.1, abs=0.1)
    assert data.scale < 0.01
    assert data.own_contrast == pytest.approx(8, rel=0.05)
    assert data.own_mean == pytest.approx(0.5, abs=0.02)
    assert data.own_std == pytest.approx(12**-0.5, abs=0.02)


def test_the_test_part_decides_nothing_that_the_network_sees(tmp_path):
    path = write_kites(tmp_path / "kites", "json")
    train = [f"kite{n:02d}" for n in range(10)]
    before, _ = fingerprint_of(path, train)
    content = json.loads(path.read_text())
    for n in range(10, 16):
        photo = path.parent / "photos" / f"kite{n:02d}.jpg"
        image = cv2.imread(str(photo))
        cv2.imwrite(str(photo), 255 - image // 8)
        points = content["samples"][n]["landmarks"]
        upside_down = [[p[0], image.shape[0] - 1 - p[1]] for p in points]
        content["samples"][n]["landmarks"] = upside_down
    path.write_text(json.dumps(content))
    after, _ = fingerprint_of(path, train)
    for key in ("colour", "bits", "values", "used", "mean", "std", "border", "rotation", "scale", "position"):
        assert getattr(after, key) == getattr(before, key), key
    whole, _ = fingerprint_of(path)
    assert whole.mean > before.mean + 0.1
    assert whole.rotation > before.rotation + 10


def test_a_search_for_copies_that_stops_is_told(tmp_path, monkeypatch):
    path = write_kites(tmp_path / "kites")
    assert DataView(find_data(path).build()).left_out == []
    monkeypatch.setattr(fingerprint, "_PICTURE_SECONDS", 0.0)
    view = DataView(find_data(path).build())
    assert view.left_out == ["copies among 15 of 16 images, for lack of time"]
    assert DataView(find_data(path).build(), view).left_out == view.left_out


def test_without_images_there_is_no_fingerprint(tmp_path):
    path = write_kites(tmp_path / "kites")
    source = find_data(path)
    for file in (path.parent / "photos").iterdir():
        file.write_bytes(b"no image")
    view = DataView(source.build())
    with pytest.raises(ValueError, match="the size of no image is known"):
        read_fingerprint(view, view.dataset.schema, ["kite00"])
