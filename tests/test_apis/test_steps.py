"""Steps after a training: test, record, ensemble."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest

from mmlandmark.apis import EnsembleStep, RecordStep, TestStep, prepare_config, run_plan
from mmlandmark.engine import Node, folder_of_test, plan_of_run, stage_to_test
from mmlandmark.testing import tiny_config
from mmlandmark.utils.files import read_json


def run_of(folder, **overrides):
    config = tiny_config(folder, max_epochs=1, **overrides)
    return plan_of_run(config, folder, steps=[TestStep(config)])


def test_a_test_follows_a_training_and_the_last_of_stages(tmp_path):
    stages = [dict(name="a"), dict(name="b", load_from="run:a:last")]
    plan = Node(
        "plan",
        tmp_path,
        children=[
            run_of(tmp_path / "one"),
            run_of(tmp_path / "two", stages=stages),
        ],
    )
    run_plan(plan)
    for node, folder in zip(plan.children, ("one", "two"), strict=True):
        metrics = node.run_folder.step_metrics("test")
        report = json.loads((tmp_path / folder / "test" / "report.json").read_text())
        assert report["overall"]["mre"] == pytest.approx(metrics["mre"])
        assert node.finished()
    # A lost note of a test is made anew; the training is not.
    before = (tmp_path / "one/epoch_1.pth").stat().st_mtime_ns
    note = tmp_path / "one/run.json"
    content = read_json(note)
    note.write_text(json.dumps({key: value for key, value in content.items() if key != "steps"}))
    run_plan(plan)
    assert read_json(note) == content
    assert (tmp_path / "one/epoch_1.pth").stat().st_mtime_ns == before


def test_another_test_of_the_last_stage_does_not_overwrite_that_of_the_plan(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1, stages=[dict(name="a"), dict(name="b")])
    run_plan(plan_of_run(config, tmp_path, steps=[TestStep(config)]))
    tested = stage_to_test(config, tmp_path)
    folder = tmp_path / "02_b"
    flipped = copy.deepcopy(tested)
    flipped.model.test_cfg = dict(flip=True)
    assert folder_of_test(flipped, folder / "epoch_1.pth").name.startswith("test_last_")
    assert folder_of_test(tested, folder / "epoch_1.pth").name == "test"


def test_records_of_runs_and_of_their_mean(tmp_path):
    tiny_config("unused", max_epochs=1).dump(tmp_path / "tiny.py")
    records = [tmp_path / f"record{seed}.json" for seed in range(2)]
    config = partial(prepare_config, tmp_path / "tiny.py")
    runs = [
        plan_of_run(config(seed=seed), tmp_path / f"seed{seed}", steps=[RecordStep("record", config, record)])
        for seed, record in enumerate(records)
    ]
    made_of = dict(arms=dict(a="1234"), seeds=[0, 1])
    step = EnsembleStep("mean", {}, tmp_path / "mean.json", recipe=lambda: made_of)
    mean = Node("mean", tmp_path / "mean", needs=runs, steps=[step])
    run_plan(Node("plan", tmp_path, children=[*runs, mean]))
    found = [json.loads(path.read_text()) for path in (*records, tmp_path / "mean.json")]
    assert [record["seed"] for record in found] == [0, 1, None]
    assert found[2]["seeds"] == [0, 1]
    assert found[2]["ensemble"] == made_of
    assert "ensemble" not in found[0]
    assert mean.run_folder.step_metrics("mean")["mre"] == pytest.approx(found[2]["metrics"]["mre"])
    before = records[0].read_bytes()
    run_plan(Node("plan", tmp_path, children=[*runs, mean]))
    assert records[0].read_bytes() == before
    records[0].unlink()
    assert not runs[0].finished()
    assert mean.finished()
