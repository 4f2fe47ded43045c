"""Which images of a folder a self-training labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.planning import assumptions
from test_planning.kites import draw_kites, write_kites
from test_planning.scans import write_scans
from test_planning.test_planner import planned


def write_films(folder, count=4):
    """Write kites that nobody has annotated, ``film0.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, image in enumerate(draw_kites(count, seed=1)[0]):
        cv2.imwrite(str(folder / f"film{n}.png"), image)
    return folder


def test_annotated_broken_and_copied_images_are_left_out(tmp_path):
    write_kites(tmp_path / "kites")
    # In the very folder of the annotated images, and below it.
    photos = tmp_path / "kites" / "photos"
    films = write_films(photos / "new")
    shutil.copy(photos / "kite03.jpg", films / "other_name.jpg")
    cv2.imwrite(str(films / "saved_again.png"), cv2.imread(str(photos / "kite04.jpg")))
    data = (films / "film3.png").read_bytes()
    (films / "film3.png").write_bytes(data[: len(data) // 2])  # its header is sound
    (films / "empty.png").write_bytes(b"")
    np.save(films / "volume.npy", np.zeros((4, 5, 6), np.uint8))
    plan = planned(tmp_path / "kites", unlabelled=str(photos))
    assert plan.unlabelled.ids == [f"new/film{n}" for n in range(3)]
    text = "\n".join(assumptions(plan))
    assert f"to label     3 below {photos}" in text
    assert "left out     16 with a row in the annotation" in text
    assert "empty.png: the file is empty" in text
    assert "volume.npy has 3 dimensions, the landmarks have 2" in text
    assert "left out     1 that cannot be read: new/film3" in text
    assert (
        "left out     2 showing the same picture as an annotated image: new/other_name, new/saved_again"
        in text
    )
    # No image has a spacing, and thirteen shapes are enough for agreement.
    assert plan.labels["selector"].value == dict(type="ShapeRegulator", way="agreement", unit="px")
    assert plan.to_dict()["unlabelled"]["images"] == 3


def test_patients_that_are_tested_are_left_out(tmp_path):
    write_kites(tmp_path / "kites")
    films = write_films(tmp_path / "films", 16)
    for n in range(16):
        (films / f"film{n}.png").rename(films / f"kite{n:02d}_again.png")
    plan = planned(tmp_path / "kites", unlabelled=str(films), group_pattern="kite..")
    tested = set(plan.parts["test"])
    assert plan.unlabelled.ids == [f"kite{n:02d}_again" for n in range(16) if f"kite{n:02d}" not in tested]
    assert any("3 of patients that validate or test" in phrase for phrase in plan.unlabelled.left_out)


@pytest.mark.parametrize("above", ["", "scans"])
def test_a_patient_may_be_a_folder(tmp_path, above):
    """The ids of the annotation begin with the patient, and so does a part of the paths of the others."""
    path = write_kites(tmp_path / "kites", "json", id=[f"P{n:02d}/front" for n in range(16)])
    films = write_films(tmp_path / "films", 16)
    for n in range(16):
        folder = films / above / f"P{n:02d}"
        folder.mkdir(parents=True)
        (films / f"film{n}.png").rename(folder / "side.png")
    plan = planned(path, unlabelled=str(films), group_pattern="P..")
    assert len(plan.parts["test"]) == 3
    learnt_from = {Path(name).parent.name for name in plan.unlabelled.ids}
    assert learnt_from == {name.partition("/")[0] for name in plan.parts["train"]}


def test_millimetres_need_the_spacing_of_both(tmp_path):
    write_kites(tmp_path / "kites", "json", spacing=[0.2] * 16)
    films = write_films(tmp_path / "films")
    assert planned(tmp_path / "kites", unlabelled=str(films)).labels["selector"].value["unit"] == "px"
    known = planned(tmp_path / "kites", unlabelled=str(films), spacing=(0.2,))
    assert known.labels["selector"].value["unit"] == "mm"


def test_volumes_without_a_spacing_are_left_out(tmp_path):
    pytest.importorskip("nibabel")
    write_scans(tmp_path / "scans")
    write_scans(tmp_path / "more", count=9)
    films = tmp_path / "more" / "images"
    np.save(films / "array.npy", np.random.default_rng(0).integers(0, 255, (40, 32, 24)).astype(np.uint8))
    plan = planned(tmp_path / "scans", unlabelled=str(films))
    # The first six are the annotated ones, drawn again. Their names are taken, too.
    assert plan.unlabelled.ids == ["6", "7", "8"]
    assert [phrase.partition(":")[0] for phrase in plan.unlabelled.left_out] == [
        "6 showing the same picture as an annotated image",
        "1 without a spacing (--spacing MM gives it, if no file states one)",
    ]
    selector = plan.labels["selector"].value
    assert (selector["way"], selector["unit"]) == ("masking", "mm")


def test_a_spacing_for_some_volumes_does_not_replace_that_of_others(tmp_path):
    """Points of markups are in mm of the file, so the annotation has a spacing; other volumes have not."""
    pytest.importorskip("nibabel")
    write_scans(tmp_path / "scans")
    films = tmp_path / "films"
    write_scans(films, count=8)
    np.save(films / "array.npy", np.random.default_rng(0).integers(0, 255, (40, 32, 24)).astype(np.uint8))
    known = planned(tmp_path / "scans", unlabelled=str(films), spacing=(0.5,))
    assert known.unlabelled.ids == ["array", "images/6", "images/7"]
    wrong = planned(tmp_path / "scans", unlabelled=str(films), spacing=(2.0,))
    assert wrong.unlabelled.ids == ["array"]
    assert any("2 whose files state another spacing than --spacing" in p for p in wrong.unlabelled.left_out)


def test_folders_without_an_image_to_label_are_refused(tmp_path):
    write_kites(tmp_path / "kites")
    with pytest.raises(FileNotFoundError, match=r"--unlabelled .*nowhere: there is no such folder"):
        planned(tmp_path / "kites", unlabelled=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"'.*empty' holds no image without annotation"):
        planned(tmp_path / "kites", unlabelled=str(tmp_path / "empty"))
    shutil.copy(tmp_path / "kites" / "photos" / "kite03.jpg", tmp_path / "empty" / "copy.jpg")
    with pytest.raises(ValueError, match=r"no image is left to label: 1 showing the same picture"):
        planned(tmp_path / "kites", unlabelled=str(tmp_path / "empty"))
