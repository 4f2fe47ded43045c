"""From a data set and a time to a plan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.planning import (
    Answers,
    OpenQuestion,
    assumptions,
    decide_network,
    find_data,
    fingerprint,
    read_data,
)
from mmlandmark.planning.budget_rules import Speed, network_for
from test_planning.kites import write_kites


def planned(folder, **answers):
    return read_data(find_data(folder), Answers(**answers))


def on_a_machine(rate: float, calls: list):
    """Return a measurement of a machine with so many multiplications a second."""

    def measure(plan, ids):
        size = tuple(plan.choices["size"].value)
        calls.append(size)
        network = network_for(
            size,
            plan.choices["channels"].value,
            len(plan.fingerprint.landmarks),
            plan.choices["network"].value["stem_stride"],
        )
        return Speed(4 * (0.005 + 3 * network.multiply_adds() / rate), 0.001, 6.0, 4)

    return measure


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


@pytest.mark.parametrize(("rate", "minutes", "size"), [(1e12, 30, [96, 128]), (1e8, 2, [96, 128])])
def test_network_is_chosen_by_measured_time(tmp_path, rate, minutes, size):
    write_kites(tmp_path / "kites")
    plan, calls = planned(tmp_path / "kites", minutes=minutes), []
    decide_network(plan, on_a_machine(rate, calls))
    assert plan.choices["size"].value == size
    assert calls == [(96, 128)]
    assert plan.minutes <= minutes or plan.choices["epochs"].value == 1
    json.dumps(plan.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("rate", "largest"), [(1e8, 128), (3e10, 512), (1e12, 640)])
def test_a_faster_machine_gets_a_larger_input(tmp_path, rate, largest):
    write_kites(tmp_path / "kites")
    plan, calls = planned(tmp_path / "kites", minutes=10), []
    object.__setattr__(plan.fingerprint, "median_size", [480, 640])
    decide_network(plan, on_a_machine(rate, calls))
    assert max(plan.choices["size"].value) == largest
    assert tuple(plan.choices["size"].value) in calls
    assert len(calls) <= 4
    assert plan.minutes < 10
    seen = plan.choices["epochs"].value * 13
    # Start and validations also take time, and the last batch of an epoch is not full.
    assert (seen > 0.75 * 1500) == (rate > 1e8)
    assert ("is a short time" in plan.choices["size"].why) == (rate == 1e8)
    assert ("as large as the images are good for" in plan.choices["size"].why) == (largest == 640)


def test_volumes_have_a_plan(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "v").mkdir()
    samples = []
    for n in range(8):
        np.save(tmp_path / "v" / f"{n}.npy", rng.integers(-1000, 2000, (32, 40, 48)).astype(np.int16))
        points = (
            np.array([[8, 9, 7], [30, 12, 9], [12, 30, 20], [35, 30, 25]]) + rng.normal(0, 1, (4, 3))
        ).tolist()
        samples.append(dict(image=f"{n}.npy", landmarks=points, spacing=1.5))
    schema = dict(name="v", landmarks=["a", "b", "c", "d"], dims=3)
    (tmp_path / "v" / "v.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    plan = planned(tmp_path / "v")
    decide_network(plan, on_a_machine(1e12, []))
    assert plan.choices["size"].value == [32, 40, 48]
    assert plan.choices["unit"].value["unit"] == "mm"
    assert "value_range" in plan.choices["values"].value
    assert plan.choices["batch"].value == 1
