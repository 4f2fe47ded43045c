"""The plan of a config with and without stages, and of single landmarks."""

import pytest

from mmlandmark.engine import ConfigError, Node, check_plan, describe_plan, plan_of_run
from mmlandmark.engine.joined_landmarks import JoinStep
from mmlandmark.testing import tiny_config
from test_engine.test_per_landmark import NAMES, each


def test_one_run_stages_and_landmarks(tmp_path):
    assert plan_of_run(tiny_config(tmp_path), tmp_path).config is not None
    stages = [dict(name="first"), dict(name="second", load_from="run:first:last")]
    plan = plan_of_run(tiny_config(tmp_path, stages=stages), tmp_path, name="mine")
    assert (plan.name, [run.name for run in plan.runs()]) == ("mine", ["first", "second"])
    plan = plan_of_run(each(tmp_path, stages=stages), tmp_path)
    assert [node.name for node in plan.children] == ["00_sella", "01_nasion", "02_menton"]
    assert [type(step) for step in plan.steps] == [JoinStep]
    for name, node in zip(NAMES, plan.children, strict=True):
        assert [run.folder.relative_to(tmp_path).as_posix() for run in node.runs()] == [
            f"{node.name}/01_first",
            f"{node.name}/02_second",
        ]
        for run in node.runs():
            assert run.config.train_dataloader.dataset.landmarks == [name]
            assert run.config.model.head.num_landmarks == 1
        first, second = node.runs()
        assert second.inputs == [first]
    assert len({run.fingerprint for run in plan.runs()}) == 6
    assert describe_plan(plan).splitlines()[1].split() == ["00_sella", "to", "do", "0", "of", "2", "finished"]


def test_some_landmarks_are_trained_in_the_same_folders(tmp_path):
    config = each(tmp_path)
    whole = {run.folder: run.fingerprint for run in plan_of_run(config, tmp_path).runs()}
    config.per_landmark = ["menton"]
    plan = plan_of_run(config, tmp_path)
    assert {run.folder: run.fingerprint for run in plan.runs()} == {
        tmp_path / "02_menton": whole[tmp_path / "02_menton"]
    }
    assert plan.steps == []  # the others may be trained elsewhere


def with_template(folder, size):
    """Return a config with a template of which the network sees only the middle."""
    resize, crop = dict(type="Resize", size=(64, 64)), dict(type="CenterCrop", size=size)
    pipeline = [dict(type="LoadImage"), resize, crop, dict(type="Resample"), dict(type="PackInputs")]
    hook = dict(type="TemplateHook", template=dict(offset=7, num_samples=1), pipeline=pipeline)
    return each(folder, custom_hooks=[hook])


def test_a_landmark_that_no_template_shows_is_left_out(tmp_path):
    plan = plan_of_run(with_template(tmp_path, (60, 20)), tmp_path)
    assert [node.wanted for node in plan.children] == [True, False, True]
    lines = [line.split(maxsplit=3) for line in describe_plan(plan).splitlines()]
    assert lines[2] == ["01_nasion", "to", "do", "template 'ceph_0_000007' does not show it"]
    with pytest.raises(
        ConfigError, match="no landmark can be learnt: template 'ceph_0_000007' does not show"
    ):
        plan_of_run(with_template(tmp_path, (2, 2)), tmp_path)
    staged = with_template(tmp_path, (60, 20))  # a stage may have what the whole config lacks
    keys = ("custom_hooks", "val_dataloader", "test_dataloader")
    staged.stages = [dict(name="one", **{key: staged.pop(key) for key in keys})]
    assert [node.wanted for node in plan_of_run(staged, tmp_path).children] == [True, False, True]


def test_nobody_starts_from_all_landmarks_at_once(tmp_path):
    group = plan_of_run(each(tmp_path / "each"), tmp_path / "each")
    student = Node("student", tmp_path / "student", tiny_config(tmp_path, load_from="run:each:last"))
    plan = Node("both", tmp_path, children=[group, student])
    with pytest.raises(ConfigError, match=r"makes a model per landmark.* as in run:each/00_sella:last"):
        check_plan(plan)
    student.config.load_from = "run:each/02_menton:last"
    assert student.inputs == [group.children[2]]


def test_what_will_not_come_together_is_said_before_the_first_run(tmp_path):
    config = each(tmp_path)
    config.model.head.codec = dict(type="LearnedSigmaCodec")
    with pytest.raises(ConfigError, match=r"per_landmark: .*LearnedSigmaCodec of a member has learnt"):
        check_plan(plan_of_run(config, tmp_path))
    stages = [dict(name="one", per_landmark=True)]
    with pytest.raises(ConfigError, match=r"stage 'one': no run reads its key 'per_landmark'$"):
        plan_of_run(tiny_config(tmp_path, stages=stages), tmp_path)
