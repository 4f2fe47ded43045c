"""Plans: references from the nearest group outwards, fingerprints, states."""

from __future__ import annotations

import json
import re

import pytest
from mmengine.config import Config

from mmlandmark.engine import ConfigError, Node, RunLock, Step, describe_plan, plan_of_run, state_of
from mmlandmark.engine.plan import check_references
from mmlandmark.utils.files import read_json


def leaf(folder, name, start=None, **model):
    values = dict(model=dict(type="X", **model), randomness=dict(seed=0))
    if start is not None:
        values["load_from"] = start
    return Node(name, folder / name, Config(values))


def group(folder, name, *children, **kwargs):
    return Node(name, folder / name, children=children, **kwargs)


class Noted(Step):
    name = "test"

    def run(self, node):
        return {}


def nested(folder):
    """Return two folds of two stages each, behind a run that is shared."""
    folds = [
        group(
            folder,
            f"fold_{n}",
            leaf(folder / f"{n}", "rough"),
            leaf(folder / f"{n}", "fine", "run:rough:last"),
        )
        for n in range(2)
    ]
    return group(folder, "all", leaf(folder, "shared"), leaf(folder, "rough"), *folds)


def target(node):
    ((run, which),) = node.references.values()
    return run.path, which


def test_a_reference_means_the_nearest_run_before_it(tmp_path):
    plan = nested(tmp_path)
    shared, outer, first, second = plan.children
    assert [node.path for node in plan.walk()] == [
        "all",
        "shared",
        "rough",
        "fold_0",
        "fold_0/rough",
        "fold_0/fine",
        "fold_1",
        "fold_1/rough",
        "fold_1/fine",
    ]
    assert target(first.children[1]) == ("fold_0/rough", "last")
    assert target(second.children[1]) == ("fold_1/rough", "last")
    assert first.children[1].inputs == [first.children[0]]
    # Outwards, into a group, and a group for its last run; a run of the same name after it does not count.
    for text, path in (
        ("run:shared:best", "shared"),
        ("run:fold_0/rough:last", "fold_0/rough"),
        ("run:fold_0:last", "fold_0/fine"),
    ):
        second.children[0].config.load_from = text
        vars(second.children[0]).pop("references", None)
        assert target(second.children[0])[0] == path
    first.children[0].config.load_from = "run:rough:last"
    assert target(first.children[0])[0] == "rough", "not itself, and not the one in the other fold"
    assert outer.references == {}
    assert shared.inputs == []


@pytest.mark.parametrize(
    "text", ["run:later:last", "run:fine:last", "run:rough:first", "run:rough", "run::last"]
)
def test_a_reference_to_nothing_before_is_an_error(tmp_path, text):
    plan = group(
        tmp_path, "g", leaf(tmp_path, "rough"), leaf(tmp_path, "fine", text), leaf(tmp_path, "later")
    )
    with pytest.raises(ConfigError, match=rf"run 'fine' uses '{text}'; write run:<name>:last .*\['rough'\]"):
        check_references(plan)


def test_variables_of_the_author_refer_to_nothing(tmp_path):
    node = leaf(tmp_path, "a")
    node.config.mine = "run:nowhere:last"
    assert node.references == {}


def test_ready_replaces_references_anywhere(tmp_path):
    node = leaf(tmp_path, "b", "run:a:last", parts=[dict(file="run:a:best")], other="run:a")
    node.config.mine = "run:a:last"
    ready = node.ready({"run:a:last": "x.pth"})
    assert ready.load_from == "x.pth"
    assert ready.model.parts[0].file == "run:a:best"
    assert ready.mine == "run:a:last"
    assert ready.work_dir == str(tmp_path / "b")
    assert node.config.load_from == "run:a:last"


def test_a_fingerprint_holds_everything_that_a_run_builds_on(tmp_path):
    prints = {node.path: node.fingerprint for node in nested(tmp_path).walk()}
    assert prints["fold_0/fine"] == prints["fold_1/fine"]
    assert prints["fold_0/rough"] == prints["rough"] != prints["fold_0/fine"]
    moved = {node.path: node.fingerprint for node in nested(tmp_path / "elsewhere").walk()}
    assert moved == prints
    changed = nested(tmp_path)
    changed.children[2].children[0].config.model.type = "Y"
    others = {node.path: node.fingerprint for node in changed.walk()}
    differ = {path for path in prints if prints[path] != others[path]}
    assert differ == {"all", "fold_0", "fold_0/rough", "fold_0/fine"}


def test_the_folder_of_another_run_is_refused(tmp_path):
    node, other = leaf(tmp_path, "a"), leaf(tmp_path, "a", kind="another")
    node.run_folder.begin()
    with pytest.raises(ConfigError, match=r"run 'a': .*/a holds a run with other values or other inputs"):
        other.finished()
    assert state_of(other)[0] == "refused"


def test_states_from_nothing_to_finished(tmp_path):
    stage, last = leaf(tmp_path, "a"), leaf(tmp_path, "b", "run:a:last")
    plan = group(tmp_path, "g", stage, last, steps=[Noted()])
    assert state_of(stage) == ("to do", "")
    assert state_of(plan) == ("to do", "0 of 2 finished")
    stage.run_folder.begin()
    assert state_of(stage) == ("begun", "no checkpoint yet")
    (stage.folder / "epoch_3.pth").write_bytes(b"x")
    assert state_of(stage) == ("begun", "epoch_3.pth")
    with RunLock(stage.folder):
        assert re.fullmatch(r"on .+, process \d+", state_of(stage)[1])
        assert state_of(stage)[0] == "running"
    stage.run_folder.finish_training({})
    assert state_of(stage) == ("finished", "epoch_3.pth")
    assert state_of(plan) == ("begun", "1 of 2 finished")
    last.folder.mkdir()
    (last.folder / "epoch_1.pth").write_bytes(b"x")
    last.run_folder.finish_training({})
    assert not plan.finished(), "its step is missing"
    plan.run_folder.finish_step("test", dict(mre=1.0))
    assert plan.finished()
    assert describe_plan(plan).splitlines() == [
        "g    finished  test",
        "  a  finished  epoch_3.pth",
        "  b  finished  epoch_1.pth",
    ]


def test_a_run_that_is_not_wanted_says_why(tmp_path):
    node = leaf(tmp_path, "a")
    node.wanted = False
    assert state_of(node) == ("to do", "only if another run needs it")
    node.remark = "when b has seeds [1]"
    assert state_of(node)[1] == "when b has seeds [1]"
    assert group(tmp_path, "g", node).finished(), "nothing that is wanted is left"


def test_a_note_names_files_of_its_folder_only(tmp_path):
    node = leaf(tmp_path, "a")
    node.run_folder.begin()
    note = read_json(node.run_folder.note_file)
    node.run_folder.note_file.write_text(json.dumps(dict(note, checkpoint="../evil.pth")))
    with pytest.raises(ConfigError, match=r"checkpoint is '\.\./evil\.pth', which is no file of its folder"):
        node.trained()


def test_a_run_with_and_without_stages(tmp_path):
    config = Config(dict(model=dict(type="X"), stages=[dict(name="a"), dict(name="b")]))
    plan = plan_of_run(config, tmp_path / "run", "whole", steps=[Noted()], wanted=False)
    assert (plan.name, plan.wanted, [run.path for run in plan.runs()]) == ("whole", False, ["a", "b"])
    assert [run.folder.name for run in plan.runs()] == ["01_a", "02_b"]
    config.pop("stages")
    plan = plan_of_run(config, tmp_path / "run")
    assert (plan.name, plan.runs(), plan.last_run) == ("run", [plan], plan)
