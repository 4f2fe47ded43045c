"""What a person has corrected is not replaced by the next prediction."""

from __future__ import annotations

import pytest

from mmlandmark.inference.journal import JournalError
from mmlandmark.inference.written_files import WRITTEN, WrittenFiles


@pytest.fixture
def note(tmp_path):
    """Write two files as a call does."""
    (tmp_path / "slicer").mkdir()
    paths = [tmp_path / "predictions.csv", tmp_path / "slicer" / "1.mrk.json"]
    for path in paths:
        path.write_text("as predicted")
    made = WrittenFiles(tmp_path)
    made.begin()
    made.finish(paths)
    return tmp_path / WRITTEN


def changed(folder) -> list[str]:
    files = [path for path in sorted(folder.rglob("*")) if path.name != WRITTEN]
    return [path.name for path in files if WrittenFiles(folder).is_changed(path)]


def test_a_file_that_was_changed_or_is_of_somebody_else_is_known(note):
    folder = note.parent
    assert changed(folder) == []
    (folder / "slicer" / "1.mrk.json").write_text("as corrected")
    (folder / "coco.json").write_text("mine")
    assert changed(folder) == ["coco.json", "1.mrk.json"]
    written = WrittenFiles(folder)
    written.check([folder / "predictions.csv", folder / "cvat.xml"])
    with pytest.raises(
        JournalError, match=r"coco\.json is not what was predicted: move it out of the folder"
    ):
        written.check([folder / "coco.json"])
    assert not WrittenFiles(folder, forget=True).is_changed(folder / "coco.json")
    (folder / "predictions.csv").unlink()
    assert not written.is_changed(folder / "predictions.csv")


def test_what_stays_is_still_known_after_the_next_call(note):
    folder = note.parent
    (folder / "slicer" / "1.mrk.json").write_text("as corrected")
    (folder / "coco.json").write_text("new")
    written = WrittenFiles(folder)
    written.begin()
    written.finish([folder / "coco.json"])
    assert changed(folder) == ["1.mrk.json"]
    assert not written.is_changed(folder / "coco.json")


def test_files_of_a_call_that_was_killed_while_it_wrote_count_as_written(note):
    WrittenFiles(note.parent).begin()
    (note.parent / "predictions.csv").write_text("half of it was new")
    assert changed(note.parent) == []
    note.unlink()  # as in a folder of an earlier version
    assert changed(note.parent) == []


def test_a_damaged_note_is_named(note):
    note.write_text('{"files": ["predictions.csv"], "whole": true}')
    with pytest.raises(ValueError, match=r"written\.json: 'files' must list hashes: restore"):
        WrittenFiles(note.parent)
