"""Images that cannot be read: an error that names them or, where they may be skipped, the next one."""

from __future__ import annotations

import copy
import errno
import os

import pytest
from torch.utils.data import DataLoader

from mmlandmark.datasets import image_io, left_out
from mmlandmark.datasets.left_out import LeftOut
from test_datasets.six_cases import build, first


def name(results):
    return results["sample_id"]


STEPS = [dict(type="LoadImage"), name]


@pytest.fixture
def told(monkeypatch):
    """What is logged of images that are left out."""
    texts = []
    monkeypatch.setattr(left_out, "print_log", lambda text, *_: texts.append(text))
    return texts


def cut_off(root, numbers=range(6), left=-20):
    for n in numbers:
        path = root / "images" / f"case{n}.png"
        path.write_bytes(path.read_bytes()[:left])


@pytest.mark.parametrize("options", [dict(unlabelled=True), dict(on_error="skip")], ids=["hidden", "skip"])
def test_it_makes_way_for_the_next(root, told, options):
    dataset = build(root, pipeline=STEPS, **options)
    cut_off(root, (1, 2, 5))
    assert [dataset[n] for n in range(6)] == ["case0", "case3", "case3", "case3", "case4", "case0"]
    assert [dataset[n] for n in (5, 1)] == ["case0", "case3"]
    assert dataset.left_out.indices == [1, 2, 5]
    what = "unlabelled image" if "unlabelled" in options else "image"
    for number, text in zip((1, 2, 5), told, strict=True):  # each of them once
        assert text.startswith(f"{what} left out: image '")
        assert f"case{number}.png' cannot be read: the PNG is cut off" in text
    cut_off(root, left=60)
    with pytest.raises(ValueError, match=rf"none of 6 {what}s can be used; the last: .*case3\.png"):
        _ = dataset[4]


def test_without_that_it_is_an_error_that_names_it(root):
    cut_off(root, (1,))
    dataset = build(root, pipeline=STEPS)
    with pytest.raises(ValueError, match=r"case1\.png' cannot be read"):
        _ = dataset[1]
    with pytest.raises(ValueError, match=r"case1\.png' cannot be read"):
        list(DataLoader(dataset, num_workers=1, collate_fn=first))


@pytest.mark.parametrize("workers", [1, 2])
def test_all_workers_count_together(root, workers):
    cut_off(root, (1, 2, 5))
    dataset = build(root, pipeline=STEPS, on_error="skip")
    loader = DataLoader(dataset, num_workers=workers, collate_fn=first)
    assert list(loader) == ["case0", "case3", "case3", "case3", "case4", "case0"]
    assert dataset.left_out.indices == [1, 2, 5]


def test_a_test_leaves_nothing_out(root):
    with pytest.raises(ValueError, match="on_error='skip' is for training: a test measures all"):
        build(root, on_error="skip", test_mode=True)


def test_nothing_is_left_out_for_lack_of_memory(root, monkeypatch):
    def full(*_, **__):
        raise MemoryError("full")

    dataset = build(root, on_error="skip", pipeline=[dict(type="LoadImage")])
    monkeypatch.setattr("mmlandmark.datasets.image_io._read", full)
    with pytest.raises(MemoryError, match="full"):
        _ = dataset[0]
    assert dataset.left_out.indices == []


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("place", ["mmlandmark.datasets.image_io._read", "pathlib.Path.is_file"])
def test_nothing_is_left_out_for_what_is_wrong_with_the_machine(root, monkeypatch, number, place):
    dataset = build(root, on_error="skip", pipeline=[dict(type="LoadImage")])
    monkeypatch.setattr(place, raising(OSError(number, os.strerror(number), str(root / "images" / "x"))))
    with pytest.raises((OSError, ValueError), match=os.strerror(number)):
        _ = dataset[0]
    assert dataset.left_out.indices == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_nothing_is_left_out_for_a_cache_that_cannot_be_written(root, tmp_path, monkeypatch, number):
    cache = dict(mode="disk", folder=str(tmp_path / "cache"))
    dataset = build(root, on_error="skip", pipeline=[dict(type="LoadImage")], image_cache=cache)
    error = OSError(number, os.strerror(number), str(tmp_path / "cache" / "x.npy"))
    monkeypatch.setattr("mmlandmark.datasets.image_cache.atomic_path", raising(error))
    with pytest.raises(OSError, match=os.strerror(number)):
        _ = dataset[0]
    assert dataset.left_out.indices == []


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "not allowed"), OSError("cut off")])
def test_an_image_is_left_out_for_what_is_wrong_with_its_file(root, monkeypatch, told, error):
    dataset = build(root, on_error="skip", pipeline=STEPS)
    error.filename = str(root / "images" / "case0.png") if error.errno else None
    read = image_io._read
    bad = raising(error)
    monkeypatch.setattr(image_io, "_read", lambda path, *a: (bad if "case0" in str(path) else read)(path, *a))
    assert dataset[0] == "case1"
    (root / "images" / "case1.png").unlink()
    assert dataset[1] == "case2"
    assert dataset.left_out.indices == [0, 1]
    assert len(told) == 2


def test_a_copy_counts_anew(told):
    some = LeftOut(3)
    some.tell(1, "broken")
    other = copy.deepcopy(some)
    other.tell(2, "broken")
    assert (some.indices, other.indices, other.what) == ([1], [2], "image")
