"""What a few images tell about a dataset before anything is trained on it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from image_writers import write_dicom
from mmlandmark.datasets import LandmarkDataset, PhantomDataset, RepeatDataset, ShardedDataset, pixel_checks
from mmlandmark.datasets.check_kinds import KINDS
from mmlandmark.datasets.pixel_checks import pixel_findings
from mmlandmark.datasets.shards import ShardWriter

RNG = np.random.default_rng(0)


def picture(shape=(60, 48), top=255, dtype=np.uint8):
    return RNG.integers(0, top + 1, shape).astype(dtype)


def build(folder, images, load=(), steps=(), **record):
    samples = []
    for name, array in images.items():
        if isinstance(array, bytes):
            (folder / name).write_bytes(array)
        elif name.endswith(".npy"):
            np.save(folder / name, array)
        else:
            assert cv2.imwrite(str(folder / name), array)
        samples.append(dict(id=name, image=name, landmarks=[[3, 4]], **record))
    path = folder / "annotations.json"
    path.write_text(json.dumps(dict(samples=samples)))
    pipeline = [dict(type="LoadImage", **dict(load)), *steps]
    return LandmarkDataset(str(path), image_dir=str(folder), pipeline=pipeline)


def checks(findings):
    assert all(f.check in KINDS and f.severity == KINDS[f.check].severity for f in findings)
    return [f.check for f in findings]


def test_good_images_have_no_findings(tmp_path):
    dataset = build(
        tmp_path, {f"{i}.png": picture() for i in range(3)}, steps=[dict(type="Resize", size=(30, 24))]
    )
    assert pixel_findings(dataset) == []
    assert pixel_findings(RepeatDataset(dataset, 3)) == []
    assert pixel_findings(PhantomDataset("hand", 2, size=(64, 48), pipeline=[dict(type="LoadImage")])) == []


def test_twelve_bits_in_sixteen(tmp_path):
    images = {f"{i}.png": picture(top=4095, dtype=np.uint16) for i in range(3)}
    found = pixel_findings(build(tmp_path, images), split="train")
    assert checks(found) == ["small range"] * 3
    assert "1/16 of the range" in found[0].message
    assert "LoadImage(bits=12)" in found[0].advice
    assert (found[0].split, found[0].sample_id) == ("train", "0.png")
    assert found[0].image.endswith("0.png")
    assert pixel_findings(build(tmp_path, images, dict(bits=12))) == []
    assert pixel_findings(build(tmp_path, images, dict(value_range=(0, 4095)))) == []
    assert pixel_findings(build(tmp_path, images, steps=[dict(type="NormalizeIntensity")])) == []


@pytest.mark.parametrize("top", [8190, 8200])
def test_an_eighth_is_the_limit(tmp_path, top):
    array = picture(dtype=np.uint16)
    array[0, 0], array[0, 1] = 0, top
    assert checks(pixel_findings(build(tmp_path, {"a.png": array}))) == (
        ["small range"] if top < 65535 / 8 else []
    )


def test_values_far_beyond_white(tmp_path):
    volume = RNG.normal(0, 500, (5, 6, 7)).astype(np.float32)
    dataset = build(tmp_path, {"a.npy": volume[0]})
    found = pixel_findings(dataset)
    assert checks(found) == ["large range"]
    assert "value_range=(" in found[0].advice


def test_constant_nan_broken(tmp_path):
    bad = RNG.random((20, 20)).astype(np.float32)
    bad[:2] = np.nan
    images = {"c.png": np.full((20, 20), 7, np.uint8), "n.npy": bad, "x.png": b"no image"}
    found = pixel_findings(build(tmp_path, images))
    assert sorted(checks(found)) == ["broken image", "constant image", "pixels not finite"]
    assert "every pixel is 7" in next(f.message for f in found if f.check == "constant image")
    assert "40 of 400 pixels" in next(f.message for f in found if f.check == "pixels not finite")
    assert checks(pixel_findings(build(tmp_path, {"n.npy": bad}, dict(fill_value=0.0)))) == []


def test_stretched(tmp_path):
    images = {"wide.png": picture((48, 96)), "tall.png": picture((96, 72))}
    found = pixel_findings(build(tmp_path, images, dict(size=(96, 72))))
    assert checks(found) == ["stretched image"]
    assert found[0].sample_id == "wide.png"
    assert "96 x 48 pixels become 72 x 96: one side is stretched 2.67 times" in found[0].message
    for load, steps in ((dict(size=(96, 72), keep_aspect=True), ()),
                        ((), [dict(type="Resize", size=(96, 72), keep_aspect=True)])):  # fmt: skip
        assert pixel_findings(build(tmp_path, images, load, steps)) == []
    found = pixel_findings(build(tmp_path, images, steps=[dict(type="Resize", size=(96, 72))]))
    assert checks(found) == ["stretched image"]
    # Pixels twice as wide as high: the stretch makes them square.
    assert (
        pixel_findings(build(tmp_path, {"a.png": picture((80, 40))}, dict(size=(80, 80)), spacing=[2, 1]))
        == []
    )


def test_a_spacing_that_a_pipeline_names_is_no_stretch(tmp_path):
    images = {"a.png": picture((80, 80))}
    steps = [dict(type="Resize", size=(40, 80))]
    assert checks(pixel_findings(build(tmp_path, images, steps=steps, spacing=[1, 1]))) == ["stretched image"]
    steps = [dict(type="ResampleSpacing", spacing=(1.0, 2.0))]
    assert pixel_findings(build(tmp_path, images, steps=steps, spacing=[1, 1])) == []


def test_mixed_depth(tmp_path):
    images = {"0.png": picture(), "1.png": picture(), "2.png": picture(top=65535, dtype=np.uint16)}
    found = pixel_findings(build(tmp_path, images))
    assert checks(found) == ["mixed bit depth"]
    assert found[0].sample_id == "2.png"
    assert found[0].message == "8 bits in 2 of 3 images read, 16 bits in 1 of 3 images read"


def test_depths_that_the_pipeline_makes_alike_are_not_mixed(tmp_path):
    twelve = picture(top=4095, dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "0.png"), twelve)
    write_dicom(tmp_path / "1.dcm", twelve, None, 12)
    samples = [dict(id=name, image=name, landmarks=[[3, 4]]) for name in ("0.png", "1.dcm")]
    (tmp_path / "annotations.json").write_text(json.dumps(dict(samples=samples)))
    for bits, expected in ((12, []), (None, ["small range", "mixed bit depth"])):
        pipeline = [dict(type="LoadImage", bits=bits)]
        dataset = LandmarkDataset(
            str(tmp_path / "annotations.json"), image_dir=str(tmp_path), pipeline=pipeline
        )
        assert checks(pixel_findings(dataset)) == expected


def test_remarks_of_the_reader(tmp_path):
    jpeg = cv2.imencode(".jpg", picture())[1].tobytes()
    found = pixel_findings(build(tmp_path, {"a.png": jpeg}))
    assert checks(found) == ["misnamed file"]


def test_large_images_are_fewer(tmp_path, monkeypatch):
    images = {f"{i:02}.png": np.full((4, 4), i, np.uint8) for i in range(8)}
    monkeypatch.setattr(pixel_checks, "MAX_PIXELS", 3 * 16 - 1)
    assert [f.sample_id for f in pixel_findings(build(tmp_path, images))] == ["00.png", "01.png", "02.png"]


def test_only_a_few_are_read(tmp_path):
    images = {f"{i:02}.png": np.full((4, 4), i, np.uint8) for i in range(30)}
    found = pixel_findings(build(tmp_path, images), max_images=4)
    assert [f.sample_id for f in found] == ["00.png", "10.png", "19.png", "29.png"]


def test_images_in_shards_are_looked_at(tmp_path):
    with ShardWriter(tmp_path, 2**20) as writer:
        for number, array in enumerate([picture(), np.full((60, 48), 7, np.uint8)]):
            data = cv2.imencode(".png", array)[1].tobytes()
            writer.add(dict(id=f"{number}", landmarks=[[3, 4]], split=f"{number}"), ".png", data)
        index = str(writer.finish(None))
    assert [(f.sample_id, f.check) for f in pixel_findings(ShardedDataset(index))] == [
        ("1", "constant image")
    ]
    (tmp_path / "shard-000000.tar").unlink()
    broken = pixel_findings(ShardedDataset(index))[0]
    assert (broken.sample_id, broken.check) == ("0", "broken image")
    assert "shard-000000.tar is missing" in broken.message
