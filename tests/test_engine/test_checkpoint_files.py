"""Checkpoint files: which is the newest, which the best, and what a kill left."""

from __future__ import annotations

import os

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import checkpoint_files, latest_checkpoint
from mmlandmark.engine.checkpoint_files import clean_temporaries, note_latest
from mmlandmark.testing import tiny_config
from mmlandmark.utils.files import atomic_path


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    with atomic_path(tmp_path / "epoch_1.pth") as temporary:
        name = temporary.name
    left = [name, ".best_mre_epoch_2-abcdefgh.pth"]
    kept = [".mine.pth", "epoch_1.pth", ".epoch_1-abc.pth", ".best-abcdefgh.json", ".x-abcdefgh.txt"]
    for file in (*left, *kept):
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / ".folder-abcdefgh.pth").mkdir()
    assert sorted(clean_temporaries(tmp_path)) == sorted(left)
    (tmp_path / ".rounds-abcdefgh.json").touch()
    assert clean_temporaries(tmp_path) == []
    (tmp_path / ".best-abcdefgh.json").rename(tmp_path / "best")
    assert clean_temporaries(tmp_path, notes=True) == [".rounds-abcdefgh.json"]
    (tmp_path / "best").rename(tmp_path / ".best-abcdefgh.json")
    os.utime(tmp_path / ".best-abcdefgh.json", (1, 1))
    assert clean_temporaries(tmp_path) == [".best-abcdefgh.json"]
    assert {p.name for p in tmp_path.iterdir()} == {*kept, ".folder-abcdefgh.pth"} - {".best-abcdefgh.json"}
    (tmp_path / left[0]).write_bytes(b"x")
    train_config(tiny_config(tmp_path, max_epochs=1))
    assert not (tmp_path / left[0]).exists()


def test_the_note_counts_and_what_is_younger(tmp_path):
    for number, age in ((100, 30), (40, 20), (41, 0)):
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(b"x")
        os.utime(path, (1000 - age, 1000 - age))
    note = tmp_path / "last_checkpoint"
    note.write_text("epoch_40.pth")
    os.utime(note, (1000, 1000))
    assert latest_checkpoint(tmp_path).name == "epoch_40.pth"  # 100 is of a run before
    os.utime(note, (990, 990))
    assert latest_checkpoint(tmp_path).name == "epoch_41.pth"  # killed before its note


def test_times_of_files_do_not_matter(tmp_path):
    """A copy of a folder has other times."""
    paths = {number: tmp_path / f"epoch_{number}.pth" for number in (1, 2, 3, 9)}
    for number in (1, 3, 9):  # the last is of a run before
        paths[number].write_bytes(bytes(1000) + bytes([number]))
    note_latest(paths[3])
    for age, path in enumerate([*tmp_path.iterdir(), tmp_path / "last_checkpoint", paths[9], paths[1]]):
        os.utime(path, (1000 + age, 1000 + age))
    assert latest_checkpoint(tmp_path) == paths[3]
    paths[2].write_bytes(b"x")  # of a new run in the folder, killed before the note; or an older one is back
    assert latest_checkpoint(tmp_path) == paths[2]
    os.utime(paths[2], (1, 1))
    assert latest_checkpoint(tmp_path) == paths[3]
    last = tmp_path / "epoch_4.pth"
    last.write_bytes(b"x")  # saved, and killed before the note
    os.utime(last, (1, 1))
    assert latest_checkpoint(tmp_path) == last
    paths[9].write_bytes(bytes(1000) + b"x")  # saved again
    os.utime(paths[9], (1, 1))
    assert latest_checkpoint(tmp_path) == paths[9]
    note_latest(paths[2])
    assert latest_checkpoint(tmp_path) == paths[2]


def test_a_file_that_is_removed_meanwhile_is_not_the_newest(tmp_path, monkeypatch):
    """A training removes old checkpoints while another program looks for the newest."""
    for number in (1, 2):
        (tmp_path / f"epoch_{number}.pth").write_bytes(bytes([number]))
    note_latest(tmp_path / "epoch_2.pth")
    removed = {7: tmp_path / "epoch_7.pth", 0: tmp_path / "epoch_0.pth"}
    found = checkpoint_files.numbered_checkpoints
    monkeypatch.setattr(checkpoint_files, "numbered_checkpoints", lambda folder: {**found(folder), **removed})
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"
    (tmp_path / "last_checkpoint.json").unlink()
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"


def test_a_temporary_that_is_renamed_meanwhile_is_no_leftover(tmp_path, monkeypatch):
    path = tmp_path / ".rounds-abcdefgh.json"
    path.touch()

    def finished(now=checkpoint_files.time.time):
        path.unlink(missing_ok=True)
        return now()

    monkeypatch.setattr(checkpoint_files.time, "time", finished)
    assert clean_temporaries(tmp_path) == []


def test_a_run_that_was_killed_before_its_note_notes_what_it_goes_on_from(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    train_config(config)
    for name in ("last_checkpoint", "last_checkpoint.json"):
        (tmp_path / name).unlink()
    train_config(tiny_config(tmp_path, max_epochs=1), resume="auto")
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_1.pth")
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"


def test_what_is_not_the_newest_is_not_noted(tmp_path):
    for number in (1, 2):
        (tmp_path / f"epoch_{number}.pth").write_bytes(bytes([number]))
    checkpoint_files.note_resumed(tmp_path / "epoch_1.pth")
    assert not (tmp_path / "last_checkpoint").exists()
    checkpoint_files.note_resumed(tmp_path / "epoch_2.pth")
    note = (tmp_path / "last_checkpoint").read_text()
    assert note.endswith("epoch_2.pth")


def test_a_list_of_another_note_is_not_taken(tmp_path):
    """Killed between note and list, or an earlier version has trained on."""
    for number in (1, 2, 3):
        (tmp_path / f"epoch_{number}.pth").write_bytes(bytes([number]))
        os.utime(tmp_path / f"epoch_{number}.pth", (number, number))
    note_latest(tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text("epoch_2.pth")
    os.utime(tmp_path / "last_checkpoint", (2.5, 2.5))
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"
    os.utime(tmp_path / "last_checkpoint", (3.5, 3.5))
    assert latest_checkpoint(tmp_path).name == "epoch_2.pth"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        '{"checkpoint": "epoch_2.pth", "files": 5}',
        '{"files": {}}',
        '{"sha256": "mmlandmark-sha256:0"}',
    ],
)
def test_a_broken_list_is_named(tmp_path, broken):
    (tmp_path / "epoch_2.pth").write_bytes(b"x")
    note_latest(tmp_path / "epoch_2.pth")
    (tmp_path / "last_checkpoint.json").write_text(broken)
    with pytest.raises(ValueError, match=r"last_checkpoint\.json.*restore it from a copy, or remove it"):
        latest_checkpoint(tmp_path)


def test_a_broken_note_is_survived(tmp_path):
    (tmp_path / "epoch_2.pth").write_bytes(b"x")
    (tmp_path / "epoch_10.pth").write_bytes(b"x")
    (tmp_path / "last_checkpoint").write_text("")
    assert latest_checkpoint(tmp_path).name == "epoch_10.pth"
    assert latest_checkpoint(tmp_path / "nothing") is None
