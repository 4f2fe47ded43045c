"""The decisions that depend on time and memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.planning import assumptions, decide_network, decisions
from mmlandmark.planning.budget_rules import Speed, network_for
from test_planning.kites import write_kites
from test_planning.scans import write_scans
from test_planning.test_planner import planned


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
