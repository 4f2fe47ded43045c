"""From a data set and a time to a plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.planning import (
    Answers,
    OpenQuestion,
    assumptions,
    find_data,
    fingerprint,
    read_data,
)
from test_planning import kites
from test_planning.kites import write_kites
from test_planning.scans import write_scans


def planned(folder, **answers):
    return read_data(find_data(folder), Answers(**answers))


@pytest.mark.parametrize(
    ("kind", "y_up"), [("csv", False), ("csv", True), ("tps", True), ("tps", False), ("coco", False)]
)
def test_every_format_and_direction_of_y_is_read(tmp_path, kind, y_up):
    write_kites(tmp_path / "kites", kind, y_up=y_up)
    plan = planned(tmp_path / "kites")
    assert plan.choices["y"].value is y_up
    assert plan.dataset.get("y_up", False) is y_up
    assert plan.choices["unit"].value["unit"] == "px"
    assert {part: len(ids) for part, ids in plan.parts.items()} == dict(train=13, test=3)
    assert plan.fingerprint.missing in (dict(tail=1), dict(landmark_4=1))


def test_answers_are_taken(tmp_path):
    write_kites(tmp_path / "kites")
    pairs = ("left_wing:right_wing",)
    plan = planned(
        tmp_path / "kites", pairs=pairs, reference=("nose", "tail", 50.0), group_pattern="kite..", y_up=False
    )
    names = list(plan.schema.landmarks)
    assert plan.schema.flip_pairs == ((names.index("left_wing"), names.index("right_wing")),)
    assert plan.choices["augmentation"].value["mirror"]
    assert plan.dataset["schema"] == "{{ fileDirname }}/schema.json"
    assert plan.dataset["group_pattern"] == "kite.."
    metric = plan.choices["unit"].value
    assert metric["reference"] == dict(pair=(names.index("nose"), names.index("tail")), mm=50.0)
    assert plan.choices["y"].why == "from the top; you said so"
    assert planned(tmp_path / "kites", spacing=(0.1,)).dataset["spacing"] == 0.1
    with pytest.raises(OpenQuestion, match="--reference-length nose nose: give two landmarks"):
        planned(tmp_path / "kites", reference=("nose", "nose", 50.0), y_up=False)


def test_scale_of_tps(tmp_path):
    write_kites(tmp_path / "kites", "tps", y_up=True, SCALE=[0.02] * 16)
    plan = planned(tmp_path / "kites")
    assert plan.choices["unit"].value["unit"] == "px"
    assert (plan.fingerprint.spacing, plan.fingerprint.spacing_known) == (None, 0)
    assert plan.fingerprint.scale_without_unit == [0.02, 0.02]
    plan = planned(tmp_path / "kites", spacing=(0.3,))
    assert (plan.choices["unit"].value["unit"], plan.fingerprint.spacing) == ("mm", [0.3, 0.3])
    plan = planned(tmp_path / "kites", scale_to_mm=10.0)
    assert plan.choices["unit"].value["unit"] == "mm"
    assert plan.fingerprint.spacing == [0.2, 0.2]
    write_kites(tmp_path / "table")
    with pytest.raises(ValueError, match="--scale-to-mm is for SCALE= of TPS"):
        planned(tmp_path / "table", scale_to_mm=10.0)


def test_what_cannot_be_known_is_asked(tmp_path):
    write_kites(tmp_path / "few", "tps", count=8, y_up=True)
    with pytest.raises(OpenQuestion, match="--y-up: y counts from the bottom"):
        planned(tmp_path / "few")
    assert planned(tmp_path / "few", y_up=True).choices["y"].value
    write_kites(tmp_path / "wrong", "coco", y_up=True)
    with pytest.raises(OpenQuestion, match="Which is right"):
        planned(tmp_path / "wrong")
    write_kites(tmp_path / "kites")
    with pytest.raises(OpenQuestion, match="--reference-length beak: the landmarks are"):
        planned(tmp_path / "kites", reference=("beak", "tail", 1.0))


def test_errors_of_the_check_stop_a_plan(tmp_path):
    path = write_kites(tmp_path / "kites")
    path.write_text(path.read_text().replace("kite05.jpg", "kite55.jpg"))
    with pytest.raises(
        ValueError, match=r"training on this would be wrong.*\n.*kite55.*\n.*mmlandmark check"
    ):
        planned(path)


def test_a_broken_volume_of_any_part_stops_a_plan(tmp_path):
    """Its header is sound, and no network sees it before the first validation."""
    write_scans(tmp_path / "scans")
    held_out = planned(tmp_path / "scans").parts["test"][0]
    path = tmp_path / "scans" / "images" / f"{held_out}.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match=rf"training on this would be wrong.*\n.*images.{held_out}\.nii\.gz"):
        planned(tmp_path / "scans")


def test_copies_of_a_volume_stay_in_one_part(tmp_path):
    nibabel, folder = pytest.importorskip("nibabel"), tmp_path / "scans"
    write_scans(folder)
    for name in ("0", "1", "2", "3"):
        image = nibabel.load(folder / "images" / f"{name}.nii.gz")
        nibabel.save(image, folder / "images" / f"{name}c.nii")
        shutil.copy(folder / "points" / f"{name}.mrk.json", folder / "points" / f"{name}c.mrk.json")
    plan = planned(folder)
    assert (plan.fingerprint.images, plan.fingerprint.patients, plan.fingerprint.copies) == (10, 6, 4)
    (part,) = (part for part, ids in plan.parts.items() if "0" in ids)
    assert "0c" in plan.parts[part]


def test_volumes_that_were_not_tried_are_in_the_plan(tmp_path, monkeypatch):
    write_scans(tmp_path / "scans")
    monkeypatch.setattr(fingerprint, "_PICTURE_SECONDS", 0.0)
    left = planned(tmp_path / "scans").left_out
    assert left[0] == "whether they can be read, and copies: 5 of 6 volumes, for lack of time"


def test_a_spacing_never_replaces_that_of_the_files_of_volumes(tmp_path):
    """Voxels of a JSON file take the spacing of their volumes; a trained detector will do so, too."""
    write_scans(tmp_path / "scans")
    data = find_data(tmp_path / "scans").build()
    samples = [
        dict(image=Path(r["img_path"]).name, landmarks=r["landmarks"].tolist())
        for r in (data.get_data_info(n) for n in range(len(data)))
    ]
    table = tmp_path / "scans" / "images" / "points.json"
    table.write_text(json.dumps(dict(samples=samples)))
    assert planned(table).fingerprint.spacing_known == 6
    with pytest.raises(OpenQuestion, match=r"--spacing would replace .*\(6 of them\), .* 0\.45 x 0\.45 x"):
        planned(table, spacing=(2.0,))
    with pytest.raises(OpenQuestion, match=r"\(1 of them\), first '0': 0\.45"):
        planned(table, spacing=(0.5,))


def test_only_the_training_part_is_measured(tmp_path, monkeypatch):
    write_kites(tmp_path / "kites", split=["train"] * 12 + ["val", "val", "test", "test"])
    read = []
    monkeypatch.setattr(
        fingerprint, "read_image", lambda path, *size: read.append(Path(path).stem) or read_image(path, *size)
    )
    plan = planned(tmp_path / "kites")
    assert sorted(read) == plan.parts["train"] == [f"kite{n:02d}" for n in range(12)]


def test_what_was_not_looked_at_is_in_the_plan(tmp_path, monkeypatch):
    write_kites(tmp_path / "kites")
    monkeypatch.setattr(fingerprint, "_PICTURE_SECONDS", 0.0)
    plan = planned(tmp_path / "kites", y_up=False)
    assert plan.to_dict()["left_out"] == ["copies among 15 of 16 images, for lack of time"]
    assert "not checked  copies among 15 of 16 images" in "\n".join(assumptions(plan))


def test_split_of_the_annotation_and_of_the_plan(tmp_path):
    groups = [f"p{n // 4}" for n in range(24)]
    write_kites(tmp_path / "kites", count=24, group=groups)
    plan = planned(tmp_path / "kites")
    owner = {f"kite{n:02d}": group for n, group in enumerate(groups)}
    by_part = {part: {owner[i] for i in ids} for part, ids in plan.parts.items()}
    assert not by_part["train"] & by_part["test"]
    assert planned(tmp_path / "kites").parts == plan.parts
    assert planned(tmp_path / "kites", seed=1).parts != plan.parts
    splits = ["train"] * 16 + ["val"] * 4 + ["test"] * 4
    write_kites(tmp_path / "divided", count=24, split=splits)
    assert planned(tmp_path / "divided").parts["val"] == ["kite16", "kite17", "kite18", "kite19"]
    write_kites(tmp_path / "leaking", count=24, split=splits, group=["p"] * 24)
    with pytest.raises(ValueError, match=r"'kite00' into train and 'kite16' into val.*one patient"):
        planned(tmp_path / "leaking")


def without_landmarks(file, names):
    """Take all points of some images out of a table."""
    head, *lines = file.read_text().splitlines()
    count = 2 * len(kites.NAMES)
    lines = [
        ",".join([""] * count + line.split(",")[count:]) if line.endswith(names) else line for line in lines
    ]
    file.write_text("\n".join([head, *lines]) + "\n")


def test_images_without_a_landmark_are_no_part(tmp_path):
    splits = ["train"] * 10 + ["val"] * 2 + ["test"] * 4
    without_landmarks(write_kites(tmp_path / "kites", split=splits), ("kite10.jpg", "kite11.jpg"))
    plan = planned(tmp_path / "kites", y_up=False)
    assert {part: len(ids) for part, ids in plan.parts.items()} == dict(train=10, test=4)
    assert "; 2 without a landmark are left out" in "\n".join(assumptions(plan))
    few = tuple(f"kite{n:02d}.jpg" for n in range(4, 16))
    without_landmarks(write_kites(tmp_path / "few"), few)
    with pytest.raises(ValueError, match=r"4 patients are too few .* annotate at least 5"):
        planned(tmp_path / "few", y_up=False)
