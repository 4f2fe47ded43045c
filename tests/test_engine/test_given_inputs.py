"""``--input``: what a config would make or name itself is given to it."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from mmlandmark.engine import ConfigError, give_inputs, plan_of_stages
from mmlandmark.engine.given_inputs import input_value, slots_of
from mmlandmark.registry import HOOKS
from mmlandmark.testing import tiny_config, tiny_model
from mmlandmark.utils.run_inputs import RunInput
from test_engine.student_configs import teacher_model, two_stages


@HOOKS.register_module(force=True)
class TemplateHookOfTest(Hook):
    """Takes a file that no config describes."""

    run_inputs = {"template": RunInput("template.image")}

    def __init__(self, template=None):
        self.template = template


def with_template(folder, **overrides):
    return tiny_config(
        folder, custom_hooks=[dict(type="TemplateHookOfTest"), dict(type="PeakMonitorHook")], **overrides
    )


def test_who_takes_no_input_says_what_it_takes(tmp_path):
    for config in (tiny_config(tmp_path), tiny_config(tmp_path, stages=[dict(name="only")])):
        with pytest.raises(ConfigError, match="no hook takes an input 'teacher' here; it takes none"):
            give_inputs(config, dict(teacher="x.pth"))
    with pytest.raises(ConfigError, match="takes an input 'teachr' here; it takes teacher"):
        give_inputs(two_stages(tmp_path), dict(teachr="x.pth"))
    with pytest.raises(ConfigError, match="takes an input 'teacher' here; it takes template"):
        give_inputs(with_template(tmp_path), dict(teacher="x.pth"))


def test_a_hook_may_take_a_file(tmp_path):
    config = with_template(tmp_path)
    assert list(slots_of(config)) == ["template"]
    assert input_value(config, "template") is None
    give_inputs(config, dict(template="film.png"))
    assert config.custom_hooks[0].template == dict(image="film.png")
    assert input_value(config, "template") == "film.png"
    named = tiny_config(tmp_path, stages=[dict(name="a"), dict(name="b", custom_hooks=[])])
    named.default_hooks.film = dict(type="TemplateHookOfTest")
    give_inputs(named, dict(template="film.png"))
    for stage in plan_of_stages(named, tmp_path).children:
        assert stage.config.default_hooks.film == dict(
            type="TemplateHookOfTest", template=dict(image="film.png")
        )
        assert stage.config.default_hooks.checkpoint == named.default_hooks.checkpoint
    # Of a config with stages every stage that has the hook, whose list replaces that of the config.
    own = [dict(type="PeakMonitorHook"), dict(type="TemplateHookOfTest")]
    config = with_template(
        tmp_path, stages=[dict(name="a"), dict(name="b", custom_hooks=own), dict(name="c", custom_hooks=[])]
    )
    give_inputs(config, dict(template="film.png"))
    hooks = {stage.name: stage.config.custom_hooks for stage in plan_of_stages(config, tmp_path).children}
    assert hooks["a"][0].template.image == hooks["b"][1].template.image == "film.png"
    assert hooks["c"] == []


def test_a_reference_is_an_input_as_well(tmp_path):
    config = two_stages(tmp_path)
    run = plan_of_stages(config, tmp_path).children[1].config
    give_inputs(run, dict(teacher="run:other:best"))
    assert run.model.teacher.to_dict() == dict(checkpoint="run:other:best")
    assert isinstance(run, Config)


def test_stages_may_be_given_a_run_of_the_plan_around_them(tmp_path):
    """An arm of a sweep learns from another arm, whose run no stage knows."""
    config = two_stages(tmp_path)
    give_inputs(config, dict(teacher="run:large_seed0:last"))
    (student,) = plan_of_stages(config, tmp_path).children
    assert (student.name, student.config.model.teacher.checkpoint) == ("student", "run:large_seed0:last")


def test_a_given_teacher_takes_the_place_of_the_first_one_only(tmp_path):
    config = two_stages(tmp_path)
    last = dict(config.stages[1].to_dict(), name="smaller")
    last["model"]["teacher"]["checkpoint"] = "run:student:last"
    config.stages = [*config.stages, last]
    give_inputs(config, dict(teacher="x.pth"))
    assert [stage.name for stage in plan_of_stages(config, tmp_path).children] == ["student", "smaller"]
    assert config.stages[1].model.teacher.checkpoint == "x.pth"
    assert config.stages[2].model.teacher.checkpoint == "run:student:last"


def test_a_stage_that_two_left_out_ones_need_is_left_out_once(tmp_path):
    config = two_stages(tmp_path)
    teacher, student = (stage.to_dict() for stage in config.stages)
    network = teacher_model(config)
    start = dict(type="Pretrained", checkpoint="run:middle:last")
    teacher["model"] = dict(network, init_cfg=start)
    config.stages = [
        dict(name="before", model=network),
        dict(name="middle", model=network, load_from="run:before:last"),
        dict(teacher, load_from="run:before:last"),
        student,
    ]
    needed = plan_of_stages(config, tmp_path).children[2].inputs
    assert [stage.name for stage in needed] == ["middle", "before"]
    give_inputs(config, dict(teacher="x.pth"))
    assert [stage.name for stage in plan_of_stages(config, tmp_path).children] == ["student"]


def test_a_given_labeller_leaves_out_all_that_would_have_labelled(tmp_path):
    config = tiny_config(tmp_path)
    labels = dict(type="PseudoLabelHook", labeller=["run:one:last", "run:two:last"])
    config.stages = [dict(name="one"), dict(name="two"), dict(name="student", custom_hooks=[labels])]
    give_inputs(config, dict(labeller="x.pth"))
    (student,) = plan_of_stages(config, tmp_path).children
    assert student.config.custom_hooks[0].labeller == "x.pth"


def test_a_given_teacher_leaves_nothing_to_do_for_its_own_training(tmp_path):
    config = two_stages(tmp_path)
    first = dict(name="before", model=teacher_model(config))
    config.stages = [first, dict(config.stages[0].to_dict(), load_from="run:before:last"), config.stages[1]]
    config.stages[2].model.teacher.config = dict(type="old")
    given = str(tmp_path / "run" / "x.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.py").touch()
    give_inputs(config, dict(teacher=given))
    (stage,) = plan_of_stages(config, tmp_path).children
    assert stage.name == "student"
    assert stage.config.model.teacher.to_dict() == dict(checkpoint=given, config=None)
    # A checkpoint without a config beside it is what the student's config says it is, or the left out stage.
    (tmp_path / "setup.py").write_text("import setuptools\nsetuptools.setup()\n")  # a program, not a config
    for own, expected in ((dict(type="own"), "own"), (None, "LandmarkDetector")):
        config = two_stages(tmp_path)
        config.stages[1].model.teacher.config = own
        give_inputs(config, dict(teacher=str(tmp_path / "x.pth")))
        (stage,) = plan_of_stages(config, tmp_path).children
        assert stage.config.model.teacher.config.type == expected
    # Where the teacher is said for all stages at once, too.
    config = two_stages(tmp_path)
    config.model = config.stages[1].model
    config.stages[1].pop("model")
    config.stages[0].model["_delete_"] = True
    give_inputs(config, dict(teacher="x.pth"))
    (stage,) = plan_of_stages(config, tmp_path).children
    assert stage.config.model.teacher.checkpoint == "x.pth"
    # Whom another stage still needs is trained.
    config = two_stages(tmp_path)
    config.stages = [
        *config.stages,
        dict(name="last", load_from="run:teacher:last", model=teacher_model(config)),
    ]
    give_inputs(config, dict(teacher="x.pth"))
    assert [stage.name for stage in plan_of_stages(config, tmp_path).children] == [
        "teacher",
        "student",
        "last",
    ]


def test_a_model_file_describes_itself(tmp_path):
    config = two_stages(tmp_path)
    config.stages[1].model.teacher.config = dict(type="old")
    tiny_model().save(tmp_path / "large.mml.pth")
    give_inputs(config, dict(teacher=str(tmp_path / "large.mml.pth")))
    (stage,) = plan_of_stages(config, tmp_path).children
    assert stage.config.model.teacher.config is None
