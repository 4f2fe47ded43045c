"""The decisions that depend on time and memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.planning import assumptions, decide_network, decisions
from mmlandmark.planning.budget_rules import Speed, network_for
from test_planning.kites import write_kites
from test_planning.scans import write_scans
from test_planning.test_planner import planned
from test_planning.test_unlabelled import write_films


def on_a_machine(rate: float, calls: list):
    """Return a measurement of a machine with so many multiplications a second."""

    def measure(plan, ids):
        size = tuple(plan.choices["size"].value)
        calls.append(size)
        network = network_for(
            size,
            plan.choices["channels"].value,
            len(plan.fingerprint.landmarks),
            plan.choices["network"].value.get("stem_stride", 1),
        )
        return Speed(4 * (0.005 + 3 * network.multiply_adds() / rate), 0.001, 6.0, 4)

    return measure


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
    assert plan.choices["spacing"].value == [1.5, 1.5, 1.5]
    assert "voxels of 1.5 mm" in plan.choices["size"].why
    assert plan.choices["unit"].value["radii"] == (2.5, 5.0, 10.0)
    assert plan.choices["unit"].value["unit"] == "mm"
    low, high = plan.choices["values"].value["value_range"]
    assert -1000 <= low < high < 2000
    normalisation = plan.choices["normalisation"].value
    assert normalisation["mean"] == pytest.approx(0.5, abs=0.02)
    assert normalisation["std"] == pytest.approx(12**-0.5, abs=0.02)
    assert plan.choices["batch"].value == 1


def test_memory_bounds_the_voxels(tmp_path):
    write_scans(tmp_path / "scans")
    finest, bounded = planned(tmp_path / "scans"), planned(tmp_path / "scans", memory=0.03 * 2**30)
    for plan in (finest, bounded):
        decide_network(plan, on_a_machine(1e13, []))
    assert finest.choices["spacing"].value == [0.5, 0.5, 0.5]
    assert "the voxels of the volumes themselves" in finest.choices["size"].why
    assert min(bounded.choices["spacing"].value) > 0.6
    assert "more than half of 0.03 GB" in bounded.choices["size"].why


def test_a_plan_for_volumes_says_what_it_assumes(tmp_path):
    write_scans(tmp_path / "scans", missing=True)
    plan = planned(tmp_path / "scans", pairs=("left:right",))
    decide_network(plan, on_a_machine(1e13, []))
    text = "\n".join([*assumptions(plan), *decisions(plan)])
    for words in (
        "errors in mm: all images have a spacing",
        "0.5 mm per voxel (median), from 0.45 x 0.45 x 0.45 to 0.5 x 0.5 x 0.5",
        "extent       12 x 16 x 20 mm (left to right",
        "3 LPS, 3 RAS; all are turned to LPS",
        "images are mirrored, 1 pair swaps",
        "sigma 0.75 mm, 1.5 voxels",
        "degrees about x, y, z of the patient",
        "1 landmarks, most often top in 1",
    ):
        assert words in text, text
    plan.fingerprint = replace(plan.fingerprint, spacing=[0.5, 0.5, 0.7])  # every axis, also equal ones
    assert "0.5 x 0.5 x 0.7 mm per voxel (median)" in "\n".join(assumptions(plan))


def test_self_training_divides_the_time(tmp_path):
    write_kites(tmp_path / "kites")
    films = write_films(tmp_path / "films", 30)
    plan, calls = planned(tmp_path / "kites", minutes=10, unlabelled=str(films)), []
    decide_network(plan, on_a_machine(1e10, calls))
    assert calls == [(96, 128)]
    alone = planned(tmp_path / "kites", minutes=4)
    decide_network(alone, on_a_machine(1e10, []))
    # Pre-training is the plan of its share of the time.
    assert alone.minutes < 4
    assert plan.choices["epochs"] == alone.choices["epochs"]
    assert plan.choices["size"] == alone.choices["size"]
    assert 8 < plan.minutes <= 10
    assert plan.unlabelled.ids == sorted(f"film{n}" for n in range(30))
    rounds, tuned = plan.labels["self_train"], plan.labels["fine_tune"]
    assert rounds.why.startswith(f"{60 * rounds.value} images seen")
    assert tuned.why.startswith(f"{13 * tuned.value} images seen")
    assert 60 * rounds.value > 13 * tuned.value
    text = "\n".join(decisions(plan))
    assert "all 30 unlabelled images are used" in text
    assert f"rounds       {rounds.value}: " in text
    json.dumps(plan.to_dict(), allow_nan=False)


def test_a_short_time_uses_some_images_and_one_that_is_too_short_is_refused(tmp_path):
    write_kites(tmp_path / "kites")
    films = write_films(tmp_path / "films", 30)
    used = []
    for _ in range(2):
        plan = planned(tmp_path / "kites", minutes=1.1, unlabelled=str(films))
        decide_network(plan, lambda plan, ids: Speed(0.5, 0.001, 5.0, 4))
        used.append(plan.unlabelled.ids)
        assert plan.minutes < 1.1
    assert used[0] == used[1]
    assert 8 < len(used[0]) < 30
    assert f"{len(used[0])} of 30 unlabelled images are used" in "\n".join(decisions(plan))
    plan = planned(tmp_path / "kites", minutes=0.5, unlabelled=str(films))
    with pytest.raises(ValueError, match=r"--minutes 0\.5 is too short a time .* give at least 1\.1$"):
        decide_network(plan, lambda plan, ids: Speed(0.5, 0.001, 5.0, 4))


def test_whole_volumes_are_labelled(tmp_path):
    pytest.importorskip("nibabel")
    write_scans(tmp_path / "scans", spacing=0.2)
    write_scans(tmp_path / "more", count=9, spacing=0.25)
    answers = dict(minutes=200, unlabelled=str(tmp_path / "more" / "images"))
    plan = planned(tmp_path / "scans", **answers)
    decide_network(plan, on_a_machine(1e12, []))
    assert plan.choices["stages"].value == 1
    assert not plan.fine
    assert len(plan.unlabelled.ids) == 9
    assert plan.labels["self_train"].value >= 3


def test_memory_bounds_the_voxels_of_a_large_volume_to_label(tmp_path):
    pytest.importorskip("nibabel")
    write_scans(tmp_path / "scans", spacing=0.4)
    write_scans(tmp_path / "more", count=9, spacing=0.5)
    folder = tmp_path / "more" / "images"
    answers = dict(minutes=200, unlabelled=str(folder), memory=0.2 * 2**30)
    few = planned(tmp_path / "scans", **answers)
    decide_network(few, on_a_machine(1e13, []))
    write_nifti(folder / "large.nii.gz", np.zeros((80, 64, 48), np.uint8), None, np.diag([0.6] * 3 + [1.0]))
    more = planned(tmp_path / "scans", **answers)
    decide_network(more, on_a_machine(1e13, []))
    assert "large" in more.unlabelled.ids
    assert min(more.choices["spacing"].value) > min(few.choices["spacing"].value)
    assert "finer voxels of the largest volume take more than half of 0.2 GB" in more.choices["size"].why
