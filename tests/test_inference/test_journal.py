"""What is done stays done: the journal of a prediction."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.inference.journal import Journal, JournalError, listed_ids
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.files import read_json
from mmlandmark.utils.result_folders import JOURNAL

SCHEMA = LandmarkSchema.numbered(2)
MODEL, OPTIONS = dict(name="m", digest="1"), dict(flip=False, precision="fp32")


def opened(folder, model=MODEL, options=OPTIONS, **kwargs) -> Journal:
    return Journal(folder, model, options, SCHEMA, **kwargs)


def made(folder, name: str, x: float = 0.1) -> Prediction:
    (folder / name).write_bytes(b"pixels of " + name.encode())
    points = np.array([[x, 1 / 3], [np.nan, np.nan]])
    return Prediction(name, str(folder / name), (8, 9), SCHEMA, points, np.array([0.7, 0.0]))


def listed(journal: Journal) -> list[tuple[str, float]]:
    return [(prediction.sample_id, prediction.points[0, 0]) for prediction in journal.predictions()]


def test_predictions_come_back_as_they_were(tmp_path):
    journal = opened(tmp_path)
    given = [made(tmp_path, name) for name in "ba"]
    journal.add(given)
    for again in (journal, opened(tmp_path)):
        assert [p.to_dict() for p in again.predictions()] == [p.to_dict() for p in given]
        assert again.names == {"b": str(tmp_path / "b"), "a": str(tmp_path / "a")}
        assert again.has(str(tmp_path / "a"))
        assert not again.has(str(tmp_path / "c"))


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path, cut):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a")])
    whole = (tmp_path / JOURNAL).read_bytes()
    journal.add([made(tmp_path, "b")])
    line = (tmp_path / JOURNAL).read_bytes()[len(whole) :]
    (tmp_path / JOURNAL).write_bytes(whole + line[:cut])
    again = opened(tmp_path)
    assert [name for name, _ in listed(again)] == ["a"]
    again.add([made(tmp_path, "c")])
    assert [name for name, _ in listed(opened(tmp_path))] == ["a", "c"]


def test_a_changed_file_is_predicted_again_in_its_old_place(tmp_path):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a"), made(tmp_path, "b")])
    (tmp_path / "a").write_bytes(b"other pixels, more of them")
    assert not journal.has(str(tmp_path / "a"))
    journal.add([made(tmp_path, "a", x=5.0)])
    assert listed(journal) == listed(opened(tmp_path)) == [("a", 5.0), ("b", 0.1)]


def test_a_file_that_changes_while_it_is_predicted_counts_as_changed(tmp_path):
    journal = opened(tmp_path)
    prediction = made(tmp_path, "a")
    assert not journal.has(str(tmp_path / "a"))
    (tmp_path / "a").write_bytes(b"changed while the network looked at the old content")
    journal.add([prediction])
    assert not journal.has(str(tmp_path / "a"))


def test_a_changed_file_that_fails_is_forgotten(tmp_path):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a"), made(tmp_path, "b")])
    journal.add([], [str(tmp_path / "a"), str(tmp_path / "never there")])
    for again in (journal, opened(tmp_path)):
        assert listed(again) == [("b", 0.1)]
        assert again.failed == [str(tmp_path / "a"), str(tmp_path / "never there")]
    journal.add([made(tmp_path, "never there")], [str(tmp_path / "c"), str(tmp_path / "a")])
    for again in (journal, opened(tmp_path)):
        assert again.failed == [str(tmp_path / "c"), str(tmp_path / "a")], "in the order of the last try"


def test_what_is_added_at_once_is_there_as_a_whole_or_not_at_all(tmp_path):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a")])
    before = (tmp_path / JOURNAL).read_bytes()
    journal.add([made(tmp_path, "b"), made(tmp_path, "c")], [str(tmp_path / "a")])
    whole = (tmp_path / JOURNAL).read_bytes()
    ends = [place + 1 for place in range(len(before), len(whole)) if whole[place] == ord("\n")]
    assert len(ends) == 3
    for end in (*ends[:-1], ends[0] + 9, len(whole) - 1):
        (tmp_path / JOURNAL).write_bytes(whole[:end])
        assert [name for name, _ in listed(opened(tmp_path))] == ["a"]
        assert (tmp_path / JOURNAL).read_bytes() == before
    (tmp_path / JOURNAL).write_bytes(whole)
    assert [name for name, _ in listed(opened(tmp_path))] == ["b", "c"]


def test_names_of_a_journal_in_any_state(tmp_path):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a"), made(tmp_path, "b")])
    journal.add([], [str(tmp_path / "a")])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"prediction": [\n{}\n')
    assert listed_ids(tmp_path) == {"a", "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model=dict(name="n", digest="1")), "holds predictions of the model 'm', not of this one"),
        (dict(model=dict(name="m", digest="2")), "holds predictions of another 'm', not of this one"),
        (dict(options=dict(flip=True, precision="fp32")), "predicted with flip False instead of True"),
    ],
)
def test_another_model_or_option_is_refused_until_it_may_replace(tmp_path, change, message):
    opened(tmp_path).add([made(tmp_path, "a")])
    with pytest.raises(JournalError, match=f"{message}: take another folder, or --overwrite"):
        opened(tmp_path, **change)
    assert len(opened(tmp_path)) == 1, "a refusal changes nothing"
    assert len(opened(tmp_path, **change, overwrite=True)) == 0
    assert listed(opened(tmp_path, **change)) == []


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"file": "a"}', '{"file": "a", "size": 1, "time": 2, "left": 0, "prediction": 3}']
)
def test_a_damaged_line_is_named(tmp_path, line):
    opened(tmp_path).add([made(tmp_path, "a")])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(JournalError, match=f"{JOURNAL}, line 3 is damaged: --overwrite"):
        opened(tmp_path)


def test_other_files_of_that_name_are_refused(tmp_path):
    (tmp_path / JOURNAL).write_text('{"format": "diary"}\n')
    with pytest.raises(JournalError, match="line 1 is damaged"):
        opened(tmp_path)
    opened(tmp_path, overwrite=True)
    head = read_json(tmp_path / JOURNAL)
    (tmp_path / JOURNAL).write_text(json.dumps(dict(head, version=99)) + "\n")
    with pytest.raises(JournalError, match="of version 99, this is version 1"):
        opened(tmp_path)


def test_lines_are_on_the_disk_when_add_returns(tmp_path, monkeypatch):
    synchronised = []
    monkeypatch.setattr(os, "fsync", lambda handle: synchronised.append(os.fstat(handle).st_size))
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a"), made(tmp_path, "b")])
    assert synchronised == [(tmp_path / JOURNAL).stat().st_size], "once per batch, after it is written"


def test_files_that_moved_keep_their_predictions(tmp_path):
    films = tmp_path / "films"
    for folder in ("one", "two"):
        (films / folder).mkdir(parents=True)
    journal = opened(tmp_path)
    given = [made(films / folder, name) for folder in ("one", "two") for name in "ab"]
    given = [replace(one, sample_id=f"{n}") for n, one in enumerate(given)]
    for one in given:
        os.utime(one.image, ns=(10**18, 10**18))  # equal names, sizes and times in both folders
    journal.add(given, ["/gone/c"])
    films.rename(tmp_path / "moved")
    there = [one.image.replace("/films/", "/moved/") for one in given]
    again = opened(tmp_path)
    assert not any(map(again.has, there))
    assert again.relocate(there) == 4
    for journal in (again, opened(tmp_path)):
        assert all(map(journal.has, there))
        assert [(p.sample_id, p.image) for p in journal.predictions()] == [*zip("0123", there, strict=True)]
        assert journal.failed == ["/gone/c"]
    assert again.relocate(there) == 0
    again.add([made(tmp_path, "d")])
    assert len(opened(tmp_path)) == 5


def test_what_may_be_another_file_is_predicted_again(tmp_path):
    journal = opened(tmp_path)
    journal.add([made(tmp_path, "a"), made(tmp_path, "b")])
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    for folder in "xy":  # two that could be it
        shutil.copy2(tmp_path / "a", tmp_path / folder / "a")
    shutil.copy2(tmp_path / "b", tmp_path / "x" / "b")
    (tmp_path / "a").unlink()
    files = [str(tmp_path / name) for name in ("x/a", "y/a", "x/b")]
    assert journal.relocate(files) == 0  # b is still there
    (tmp_path / "b").unlink()
    os.utime(tmp_path / "x" / "b", ns=(5, 5))
    assert journal.relocate(files) == 0
    assert journal.relocate(files[1:2]) == 1


def test_a_slice_that_changes_changes_its_volume(tmp_path):
    (tmp_path / "ct").mkdir()
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / "ct" / name).write_bytes(b"slice")
    journal = opened(tmp_path)
    one = replace(made(tmp_path, "a"), image=str(tmp_path / "ct"))
    journal.add([one])
    assert opened(tmp_path).has(one.image)
    times = os.stat(tmp_path / "ct")
    (tmp_path / "ct" / "2.dcm").write_bytes(b"other")
    os.utime(tmp_path / "ct" / "2.dcm", ns=(5, 5))
    assert os.stat(tmp_path / "ct").st_mtime_ns == times.st_mtime_ns
    assert not opened(tmp_path).has(one.image)


def test_pixels_that_change_change_the_image_of_their_header(tmp_path):
    (tmp_path / "ct.mhd").write_text("ObjectType = Image\nNDims = 3\nElementDataFile = ct.raw\n")
    (tmp_path / "ct.raw").write_bytes(b"slice")
    journal = opened(tmp_path)
    one = replace(made(tmp_path, "a"), image=str(tmp_path / "ct.mhd"))
    journal.add([one])
    assert opened(tmp_path).has(one.image)
    os.utime(tmp_path / "ct.raw", ns=(5, 5))
    assert not opened(tmp_path).has(one.image)
