"""A plan of one-shot detection: what is read, decided and written."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from mmlandmark.engine import load_config, plan_of_stages
from mmlandmark.planning import (
    OneShotAnswers,
    decide_one_shot,
    is_one_shot_planned,
    measure_one_shot,
    one_shot,
    read_one_shot,
)
from mmlandmark.planning.budget_rules import Speed
from mmlandmark.planning.choice import Choice
from test_planning.kites import draw_kites, write_kites


@pytest.fixture
def answers(tmp_path):
    """Twelve kites, one of which is the template; the others lie in its folder."""
    path = write_kites(tmp_path / "kites", "json", count=12)
    photos = tmp_path / "kites" / "photos"
    return OneShotAnswers(str(photos / "kite00.jpg"), str(path), str(photos), 1.0)


def planned(answers):
    plan = read_one_shot(answers)
    decide_one_shot(plan, lambda plan: Speed(0.01, 0.0, 0.1, 8))
    return plan


def test_a_plan_is_a_config_of_two_stages(tmp_path, answers):
    photos = tmp_path / "kites" / "photos"
    shutil.copy(photos / "kite00.jpg", photos / "copy.jpg")
    plan = planned(replace(answers, known=answers.points))
    assert plan.images.ids == [f"kite{n:02d}" for n in range(1, 12)]
    assert any("same picture" in line for line in plan.images.left_out)
    assert plan.known.ids == plan.images.ids
    plan.write(tmp_path / "plan")
    names = list(plan.files())
    assert (names[0], names[-1]) == ("plan.json", "config.py")  # so a plan that was stopped is known as one
    assert (tmp_path / "plan" / "known.txt").exists()
    config = load_config(tmp_path / "plan" / "config.py")
    ssl, student = plan_of_stages(config, tmp_path / "run").children
    assert (ssl.name, student.name) == ("ssl", "student")
    assert [node.name for node in student.inputs] == ["ssl"]
    assert student.config.model.type == "LandmarkDetector"
    assert student.config.model.head.num_landmarks == ssl.config.model.head.num_landmarks == 4
    assert config.get("val_dataloader") is None
    content = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert content["images"] == 11
    assert list(content)[-1] == "sha256"
    assert is_one_shot_planned(tmp_path / "plan", replace(plan.answers, cores=99))
    assert not is_one_shot_planned(tmp_path / "other", plan.answers)
    with pytest.raises(
        ValueError, match=r"holds the plan of another command: minutes is 1\.0 there and 2\.0 here"
    ):
        is_one_shot_planned(tmp_path / "plan", replace(plan.answers, minutes=2.0))
    replace(plan, known=None).write(tmp_path / "plan")
    assert not (tmp_path / "plan" / "known.txt").exists()


def test_three_label_a_plan_that_has_the_time_and_the_weights(tmp_path, answers):
    plan = planned(replace(answers, minutes=30.0, published_weights=True))
    plan.write(tmp_path / "plan")
    config = load_config(tmp_path / "plan" / "config.py")
    *labellers, student = plan_of_stages(config, tmp_path / "run").children
    assert [node.name for node in labellers] == ["encoder", "ssl_point", "ssl"]
    assert student.inputs == labellers
    points = [node.config.model.patches["points"] for node in labellers]
    assert points == [64, 1, 64]
    assert labellers[0].config.model.neck is None
    assert labellers[1].config.train_cfg == labellers[2].config.train_cfg


def test_the_unit_follows_from_what_is_tested(answers):
    assert planned(answers).choices["unit"].value["unit"] == "px"
    plan = planned(replace(answers, spacing=(0.2,), known=answers.points))
    assert plan.choices["unit"].value["unit"] == "mm"
    assert plan.template.spacing == [0.2, 0.2]


def test_a_template_of_another_field_of_view_is_told(tmp_path, answers):
    image = draw_kites(1, seed=7)[0][0]
    cv2.imwrite(str(tmp_path / "twice.png"), cv2.resize(image, None, fx=2, fy=2))
    (tmp_path / "twice.json").write_text(json.dumps(dict(nose=[60, 20], tail=[60, 70])))
    twice = replace(answers, template=str(tmp_path / "twice.png"), points=str(tmp_path / "twice.json"))
    # As many mm per pixel as the others, and twice as many pixels.
    (warning,) = planned(replace(twice, spacing=(0.5, 0.5))).warnings
    assert "the template shows 64 x 48 mm, the median image" in warning
    assert planned(twice).warnings == []
    assert planned(replace(answers, spacing=(0.5,))).warnings == []


def films_of(folder, images):
    """Write images that no annotation knows, ``0.npy`` and so on; return their folder."""
    folder.mkdir()
    for n, image in enumerate(images):
        np.save(folder / f"{n}.npy", cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    return str(folder)


def test_a_template_of_other_bits_is_seen_as_bright_as_the_images(tmp_path, answers):
    image, *others = draw_kites(4, seed=7)[0]
    cv2.imwrite(str(tmp_path / "deep.png"), image.astype(np.uint16) * 16)
    (tmp_path / "deep.json").write_text(json.dumps(dict(nose=[10, 10], tail=[30, 40])))
    deep = replace(
        answers, template=str(tmp_path / "deep.png"), points=str(tmp_path / "deep.json"),
        images=films_of(tmp_path / "films", others),
    )  # fmt: skip
    plan = planned(deep)
    assert plan.choices["values"].value == dict(bits=12)
    assert plan.warnings == []


def test_photographs_that_are_turned_have_the_proportions_of_a_template_that_is(tmp_path, answers):
    """Exif orientation 6: they are stored lying, and shown upright."""
    (tmp_path / "phone").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    for n, image in enumerate(draw_kites(4, seed=7, shapes=((48, 64),))[0]):
        Image.fromarray(image).save(tmp_path / "phone" / f"{n}.jpg", exif=turned.tobytes())
    (tmp_path / "phone.json").write_text(json.dumps(dict(nose=[10, 10], tail=[30, 40])))
    folder, points = str(tmp_path / "phone"), str(tmp_path / "phone.json")
    plan = read_one_shot(replace(answers, template=f"{folder}/0.jpg", points=points, images=folder))
    assert plan.data.median_size == [64, 48]
    assert plan.choices["aspect"].why == "all images have the same proportions"


def test_a_template_that_would_be_black_is_told(tmp_path, answers):
    floats = films_of(tmp_path / "floats", [image * np.float32(16) for image in draw_kites(4, seed=7)[0]])
    (warning,) = planned(replace(answers, images=floats)).warnings
    assert "the values of the template lie from " in warning
    assert "next to nothing is seen of it" in warning


@pytest.mark.slow
def test_a_plan_is_measured(answers):
    plan = read_one_shot(answers)
    plan.choices.update(one_shot._of_size(plan, Choice([64, 64], "small")))
    speed = measure_one_shot(plan)
    assert 0 < speed.iteration < speed.start
    assert speed.batch == 8
