"""Which images to annotate."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from mmlandmark.apis.template_choice import (
    IDS,
    RANKING,
    SHEET,
    choose_templates,
    draw_choice,
    image_cases,
    write_choice,
)
from mmlandmark.datasets import PhantomDataset
from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.utils import progress


def write_phantoms(folder, kind, count, size=(160, 128)):
    """Write images of phantoms as PNG, named after their kind."""
    dataset = PhantomDataset(kind, num_samples=count, size=size)
    folder.mkdir(exist_ok=True)
    for n in range(count):
        cv2.imwrite(str(folder / f"{kind}{n}.png"), dataset.get_data_info(n)["img"])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Return a folder of six heads and three hands."""
    folder = tmp_path_factory.mktemp("choice") / "films"
    write_phantoms(folder, "ceph", 6)
    write_phantoms(folder, "hand", 3)
    return folder


def kinds(found, indices):
    return [found.cases[index].sample_id.rstrip("0123456789") for index in indices]


def test_the_kind_of_most_images_comes_first_and_then_the_other(films):
    found = choose_templates([films], 2)
    assert kinds(found, found.choice.chosen) == ["ceph", "hand"]
    assert set(kinds(found, found.ranking[-3:])) == {"hand"}
    one = choose_templates([films], 1)
    assert one.choice.chosen == found.choice.chosen[:1]
    assert set(kinds(one, one.least_covered[:3])) == {"hand"}
    assert found.choice.coverage[1] > found.choice.coverage[0]
    assert set(one.least_covered) | set(one.choice.chosen) == set(range(9))


def test_an_image_unlike_the_others_is_the_last_choice(films, tmp_path):
    write_phantoms(tmp_path / "films", "ceph", 5)
    image = cv2.imread(str(tmp_path / "films" / "ceph2.png"))
    cv2.imwrite(str(tmp_path / "films" / "ceph2.png"), np.ascontiguousarray(image[::-1]))
    found = choose_templates([tmp_path / "films"])
    assert found.cases[found.ranking[-1]].sample_id == "ceph2"
    assert found.cases[found.least_covered[0]].sample_id == "ceph2"


def test_what_is_written(films, tmp_path):
    found = choose_templates([films], 2)
    write_choice(found, tmp_path / "out")
    assert read_ids(IDS, str(tmp_path / "out"))[0] == [found.cases[i].sample_id for i in found.choice.chosen]
    with open(tmp_path / "out" / RANKING, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [found.cases[i].sample_id for i in found.ranking]
    assert [float(row["coverage"]) for row in rows] == sorted(
        (float(r["coverage"]) for r in rows), reverse=True
    )
    assert sorted(row["chosen"] for row in rows if row["chosen"]) == ["1", "2"]
    assert [row["found_in_chosen"] for row in rows if row["chosen"]] == ["", ""]
    sheet = cv2.imread(str(tmp_path / "out" / SHEET))
    assert sheet.shape == draw_choice(found).shape
    assert sheet.std() > 20


def test_a_file_that_cannot_be_read_is_left_out(films, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = choose_templates([films, tmp_path / "broken.png"])
    assert [failure.sample_id for failure in found.failures] == ["broken"]
    assert len(found.cases) == 9
    with pytest.raises(ValueError, match=r"0 of 1 images can be compared, first 'broken': .*cannot be read"):
        choose_templates([tmp_path / "broken.png"])
    with pytest.raises(ValueError, match="1 of 1 images can be compared; to choose 1 takes more"):
        choose_templates([films / "ceph0.png"])


def test_many_images_are_thinned_out(films, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    found = choose_templates([films], limit=3, show_progress=True)
    assert [case.sample_id for case in found.cases] == ["ceph0", "ceph3", "hand0"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" images")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]


def test_a_config_brings_its_training_images(films, tmp_path):
    (tmp_path / "config.py").write_text(
        "data = dict(type='PhantomDataset', kind='ceph', num_samples=4, size=(96, 80))\n"
        "train_dataloader = dict(dataset=data)\n"
        "model = dict(type='LandmarkDetector')\n"
    )
    cases = image_cases([tmp_path / "config.py"])
    assert len(cases) == 4
    assert cases[0].array.shape == (96, 80)
    found = choose_templates([tmp_path / "config.py"], points=50)
    assert len(found.cases) == 4
    assert draw_choice(found, side=64).ndim == 3


def test_a_template_that_exists_is_one_of_the_choice(films):
    found = choose_templates([films], 2, ["hand1"])
    assert found.cases[found.choice.chosen[0]].sample_id == "hand1"
    assert kinds(found, found.choice.chosen) == ["hand", "ceph"]
    few = choose_templates([films], 1, ["hand2"], limit=3)
    assert [few.cases[index].sample_id for index in few.choice.chosen] == ["hand2"]
    with pytest.raises(ValueError, match="annotated: there is no readable image 'hand7'"):
        choose_templates([films], 2, ["hand7"])
