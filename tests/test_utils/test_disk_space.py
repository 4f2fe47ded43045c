"""A full disk: the error names the file and the room it takes, and what was there stays."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from full_disks import small_disk, small_files
from mmlandmark.engine import RunLock
from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.engine.run_folder import RunFolder
from mmlandmark.evaluation.record import record_results
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.disk_space import NoSpaceError, amount, free_space, naming_full_disk
from mmlandmark.utils.files import atomic_path, atomic_write_json

LARGE = "x" * 2**17  # more than a disk of 64 KiB has, and than a file may have


def checkpoint(folder, large):
    save_checkpoint(dict(a=torch.full((2**15 if large else 2,), 7.0)), folder / "epoch_1.pth")


def labels(folder, large):
    shape = (200 if large else 1, 19, 2)
    points, some = np.full(shape, 123.456, dtype=np.float32), np.ones(shape[:2], dtype=bool)
    ids = tuple(f"image{n}" for n in range(shape[0]))
    made = LabelRound(0, ids, points, points, some, points[..., 0], some[:, 0])
    made.write(folder / "epoch_1.json", [str(n) for n in range(19)])


def note(folder, large):
    RunFolder(folder, "hash").begin()
    RunFolder(folder, "hash").finish_step("test", {f"{LARGE if large else ''}mre": 1.0})


def record(folder, large):
    name = LARGE if large else "mre"
    record_results(folder / "record.json", {name: 1.0}, dict(model=dict()), 0, config_name="c")


def array(folder, large):
    with atomic_path(folder / "image.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.zeros(2**17 if large else 1, dtype=np.uint8))


KINDS = dict(checkpoint=checkpoint, labels=labels, note=note, record=record, array=array)


@pytest.mark.parametrize("limit", [small_disk, small_files], ids=["tmpfs", "RLIMIT_FSIZE"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_there_stays_and_the_file_is_named(tmp_path, limit, kind):
    with limit(tmp_path, 64) as folder:
        KINDS[kind](folder, large=False)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(NoSpaceError) as error:
            KINDS[kind](folder, large=True)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        (name,) = before
        message = error.value.strerror
        by_numpy = kind == "array"  # which does not say why it wrote less
        reason = "No space left on device" if limit is small_disk or by_numpy else "File too large"
        assert message.startswith(f"{folder / name} cannot be written: {reason} (it takes ")
        assert re.search(r"\(it takes [\d.]+ KiB at least, [\d.]+ \w+ are free\)", message)
        if kind == "checkpoint":
            assert message.endswith("intact: make room, then continue with --resume")
            assert load_checkpoint(folder / name)["a"].tolist() == [7.0, 7.0]


def test_a_lock_needs_room_too(tmp_path):
    with small_disk(tmp_path, 8) as folder:
        with pytest.raises(OSError, match="No space left"):
            (folder / "other").write_bytes(bytes(2**20))
        with pytest.raises(NoSpaceError, match=r"run\.lock cannot be written: No space left on device"):
            RunLock(folder).acquire()
        assert [path.name for path in folder.iterdir()] == ["other"]


def test_other_errors_are_told_as_they_are(tmp_path):
    for given in (PermissionError(13, "Permission denied"), RuntimeError("of its own"), ValueError("x")):
        with pytest.raises(type(given)) as error, naming_full_disk(tmp_path / "a"):
            raise given
        assert error.value is given


def test_the_error_of_a_file_inside_is_not_told_of_another(tmp_path):
    with pytest.raises(NoSpaceError, match=r"inner cannot"), naming_full_disk(tmp_path / "outer"):  # noqa: SIM117
        with naming_full_disk(tmp_path / "inner"):
            raise OSError(28, "No space left on device")


def test_a_library_has_an_error_of_its_own(tmp_path):
    def write():
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("wrong position") from error

    expected = r"a cannot be written: No space left on device \([\d.]+ \w+ are free\)$"
    with pytest.raises(NoSpaceError, match=expected), naming_full_disk(tmp_path / "a"):
        write()


def test_free_space_is_that_of_the_nearest_folder(tmp_path):
    assert free_space(tmp_path / "not" / "yet" / "there") == pytest.approx(free_space(tmp_path), rel=0.1)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "0.977 KiB"),
        (3_690_000, "3.52 MiB"),
        (2**50, "1.02e+03 TiB"),
    ],
)
def test_amounts_have_three_digits(size, text):
    assert amount(size) == text


def test_json_of_a_full_disk(tmp_path):
    with small_disk(tmp_path, 64) as folder:
        with pytest.raises(NoSpaceError, match=r"a\.json cannot be written: .*it takes 128 KiB at least"):
            atomic_write_json(folder / "a.json", LARGE)
        assert list(folder.iterdir()) == []
