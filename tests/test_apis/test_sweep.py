"""Sweeps as plans; tests/test_cli/test_sweep.py runs whole ones."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest

from meta_models import without_numbers
from mmlandmark.apis import load_sweep, plan_of_sweep, run_plan
from mmlandmark.engine import ConfigError, plan_of_run, state_of
from mmlandmark.engine.config import check_arguments
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.config_hash import config_hash

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "configs").glob("*/sweeps/*.py"))


def plan_of(path, tmp_path, **kwargs):
    return plan_of_sweep(load_sweep(path), tmp_path / "work", tmp_path / "results", **kwargs)


def record(tmp_path, *names):
    (tmp_path / "results").mkdir(exist_ok=True)
    for name in names:
        (tmp_path / "results" / f"{name}.json").write_text("{}")


def test_runs_go_seed_by_seed_and_arms_share_trainings(sweep, tmp_path):
    plan = plan_of(sweep, tmp_path)
    steps = {node.name: [step.name for step in node.steps] for node in plan.children}
    assert steps == {
        "ewc_seed0": ["ewc_seed0"],
        "mse_seed0": ["mse_seed0", "argmax_seed0"],
        "ewc_seed1": ["ewc_seed1"],
        "mse_seed1": ["mse_seed1", "argmax_seed1"],
        "both": ["both"],
    }
    assert [run.name for run in plan.children[-1].inputs] == ["mse_seed0", "mse_seed1"]
    assert plan.children[1].config.randomness.seed == 0
    assert plan.children[3].config.model.head.loss.type == "HeatmapMSELoss"


def test_a_selection(sweep, tmp_path):
    plan = plan_of(sweep, tmp_path, arms=["argmax"], seeds=[1])
    wanted = {node.name: [step.name for step in node.steps] for node in plan.children if node.wanted}
    assert wanted == {"mse_seed1": ["argmax_seed1"]}
    assert state_of(plan.children[-1]) == ("to do", "when there are argmax seed 0")
    record(tmp_path, "argmax_seed0")
    assert plan_of(sweep, tmp_path, arms=["argmax"], seeds=[1]).children[-1].wanted
    with pytest.raises(
        ValueError, match=r"sweep losses has no arms \['l1'\]; it has \['argmax', 'ewc', 'mse'\]"
    ):
        plan_of(sweep, tmp_path, arms=["l1"])


def test_what_is_on_record_is_finished_whatever_the_folder_holds(sweep, tmp_path):
    record(tmp_path, "ewc_seed0", "mse_seed0")
    states = {node.name: state_of(node)[0] for node in plan_of(sweep, tmp_path).children}
    assert states["ewc_seed0"] == "finished"
    assert states["mse_seed0"] == "to do", "argmax is not on record"
    record(tmp_path, "argmax_seed0")
    assert plan_of(sweep, tmp_path).children[1].finished()


def test_a_record_of_another_config_is_refused(sweep, tmp_path):
    """An arm that was changed would otherwise have the numbers of the arm before the change."""
    of = load_sweep(sweep).config_of
    (tmp_path / "results").mkdir()
    for arm in ("ewc", "mse", "argmax"):
        text = json.dumps(dict(config_hash=config_hash(of(arm, 0)), seed=0))
        (tmp_path / "results" / f"{arm}_seed0.json").write_text(text)
    states = {node.name: state_of(node) for node in plan_of(sweep, tmp_path).children}
    assert [states[name][0] for name in ("ewc_seed0", "mse_seed0", "mse_seed1")] == ["finished"] * 2 + [
        "to do"
    ]
    sweep.write_text(sweep.read_text().replace("'argmax'})", "'argmax', 'model.test_cfg': dict(flip=True)})"))
    states = {node.name: state_of(node) for node in plan_of(sweep, tmp_path).children}
    assert states["ewc_seed0"][0] == "finished"
    word, detail = states["mse_seed0"]
    assert word == "refused"
    assert "argmax_seed0.json is the result of another config" in detail
    with pytest.raises(
        ConfigError, match=r"than argmax_seed0 has now .*: give what changed a name of its own"
    ):
        run_plan(plan_of(sweep, tmp_path))


def test_a_record_of_another_ensemble_is_refused(sweep, tmp_path):
    """One of changed arms, of other seeds or another average would keep the number of the one before."""
    path = tmp_path / "results" / "both.json"
    record(tmp_path, "both")
    assert plan_of(sweep, tmp_path).children[-1].finished()  # an older record does not say
    made_of = plan_of(sweep, tmp_path).children[-1].steps[0].recipe()
    hashed = config_hash(load_sweep(sweep).config_of("argmax"))
    assert made_of == dict(arms=dict(argmax=hashed), seeds=[0, 1], average="points")
    path.write_text(json.dumps(dict(ensemble=made_of)))
    assert plan_of(sweep, tmp_path).children[-1].finished()
    text = sweep.read_text()
    for old, new in (
        ("'argmax'})", "'argmax', 'model.test_cfg': dict(flip=True)})"),
        ("seeds = [0, 1]", "seeds = [0]"),
        ("both='argmax'", "both=dict(arms=['argmax'], average='median')"),
    ):
        assert old in text, text
        sweep.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=r"both\.json is the result of another .* than both has now"):
            plan_of(sweep, tmp_path).children[-1].finished()


def test_arms_may_have_stages_and_build_on_each_other(tmp_path):
    """A plan inside of a plan: the last stage of one arm is the input of a stage of another."""
    term = dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up1")])
    tiny_config("unused", max_epochs=1).dump(tmp_path / "tiny.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "staged.py"
    path.write_text(
        "config = '../tiny.py'\nseeds = [0]\n"
        "two = [dict(name='rough'), dict(name='fine', load_from='run:rough:last')]\n"
        f"student = dict(type='DistilledDetector', terms=[{term!r}])\n"
        "arms = {\n"
        "    'large': {'stages': two},\n"
        "    'small': {'inputs': {'teacher': 'large'}, 'stages': [dict(name='rough'), dict(\n"
        "        name='fine', load_from='run:rough:last', model=student,\n"
        "        custom_hooks=[dict(type='TeacherHook')])]},\n"
        "}\n"
    )
    plan = plan_of(path, tmp_path)
    fine = plan.children[1].children[1]
    assert {text: node.path for text, (node, _) in fine.references.items()} == {
        "run:rough:last": "small_seed0/rough",
        "run:large_seed0:last": "large_seed0/fine",
    }
    results = run_plan(plan)
    assert list(results) == ["large_seed0/rough", "large_seed0/fine", "small_seed0/rough", "small_seed0/fine"]
    records = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "results").iterdir()}
    assert sorted(records) == ["large_seed0", "small_seed0"]
    assert (tmp_path / "work/small_seed0/02_fine/epoch_1.pth").is_file()
    used = (tmp_path / "work/small_seed0/02_fine/tiny.py").read_text()
    assert str(tmp_path / "work/large_seed0/02_fine/epoch_1.pth") in used
    assert run_plan(plan_of(path, tmp_path)) == results


def test_an_arm_may_be_a_model_per_landmark(tmp_path):
    """Its detector is recorded as one, and is not made again once it is on record."""
    config = tiny_config("unused", max_epochs=1)
    config.model.head.num_landmarks = 2
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        config[loader].dataset.landmarks = ["sella", "menton"]
    config.dump(tmp_path / "tiny.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "single.py"
    path.write_text(
        "config = '../tiny.py'\nseeds = [3]\narms = dict(joint={}, single=dict(per_landmark=True))\n"
    )
    plan = plan_of(path, tmp_path)
    assert [len(node.children) for node in plan.children] == [0, 2]
    assert [[step.name for step in node.steps] for node in plan.children] == [
        ["joint_seed3"],
        ["single_seed3"],
    ]
    run_plan(plan, only=plan.children[1:])
    made = json.loads((tmp_path / "results" / "single_seed3.json").read_text())
    assert (made["seed"], made["members"]) == (3, ["00_sella", "01_menton"])
    shutil.rmtree(tmp_path / "work")
    run_plan(plan_of(path, tmp_path), only=plan_of(path, tmp_path).children[1:])
    assert not (tmp_path / "work").exists()


def test_an_arm_may_have_a_config_of_its_own(tmp_path):
    for name, epochs in (("tiny", 1), ("other", 2)):
        tiny_config("unused", max_epochs=epochs).dump(tmp_path / f"{name}.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "two.py"
    text = (
        "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}, 'b': {'config': '../other.py'},\n"
        "'c': {'trained_as': 'b', 'model.test_cfg.flip': True}}\n"
    )
    path.write_text(text)
    sweep = load_sweep(path)
    assert {arm: sweep.config_of(arm).train_cfg.max_epochs for arm in "abc"} == dict(a=1, b=2, c=2)
    assert "config" not in sweep.arms["b"]
    path.write_text(text.replace("'trained_as': 'b',", "'trained_as': 'b', 'config': '../tiny.py',"))
    with pytest.raises(ValueError, match="arm 'c' is trained as 'b', so it has no config of its own"):
        load_sweep(path)
    path.write_text(text.replace("other.py", "missing.py"))
    with pytest.raises(FileNotFoundError, match=r"missing\.py does not exist"):
        load_sweep(path)


def test_arms_may_start_from_the_weights_of_another(tmp_path):
    tiny_config("unused", max_epochs=1).dump(tmp_path / "tiny.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "started.py"
    path.write_text(
        "config = '../tiny.py'\nseeds = [0, 1]\n"
        "on = [dict(name='rough'), dict(name='fine', load_from='run:rough:last')]\n"
        "arms = {'first': {}, 'on': {'inputs': {'load_from': 'first'}, 'stages': on}}\n"
    )
    assert load_sweep(path).inputs == {"on": {"load_from": ["first"]}}
    plan = plan_of(path, tmp_path)
    assert [run.config.load_from for run in plan.runs() if run.config.get("load_from")] == [
        "run:first_seed0:last",
        "run:rough:last",
        "run:first_seed1:last",
        "run:rough:last",
    ]
    assert [node.path for node in plan.children[3].children[0].inputs] == ["first_seed1"]
    # Which weights a run starts from is part of what it is, but not of the recipe.
    rough, other = (load_sweep(path).config_of("on", seed) for seed in (0, 1))
    assert config_hash(rough) == config_hash(other) == config_hash(load_sweep(path).config_of("on"))


def test_an_ensemble_may_be_of_several_arms_and_teach_another(sweep, tmp_path):
    text = sweep.read_text()
    sweep.write_text(text + "ensembles = {'all': {'arms': ['ewc', 'mse'], 'average': 'median'}}\n")
    plan = plan_of(sweep, tmp_path)
    whole = plan.children[-1]
    assert [run.name for run in whole.inputs] == ["ewc_seed0", "ewc_seed1", "mse_seed0", "mse_seed1"]
    assert (whole.steps[0].average, whole.steps[0].options) == ("median", {})
    record(tmp_path, "ewc_seed0", "ewc_seed1", "mse_seed0")
    last = plan_of(sweep, tmp_path, arms=["ewc"]).children[-1]
    assert state_of(last) == ("to do", "when there are mse seed 1")
    sweep.write_text(text + "ensembles = {'all': {'arms': ['ewc', 'argmax']}}\n")
    with pytest.raises(ValueError, match="the arms of ensemble 'all' are tested with different values"):
        plan_of(sweep, tmp_path)
    hooks = "[dict(type='PseudoLabelHook')]"
    sweep.write_text(
        "config = '../tiny.py'\nseeds = [0]\ntaught = {'inputs': {'labeller': ['a', 'b']}}\n"
        f"arms = {{'a': {{}}, 'b': {{}}, 'c': {{'custom_hooks': {hooks}, **taught}}}}\n"
    )
    *_, student = plan_of(sweep, tmp_path).children
    assert [run.name for run in student.inputs] == ["a_seed0", "b_seed0"]
    assert student.config.custom_hooks[0].labeller == ["run:a_seed0:last", "run:b_seed0:last"]
    assert load_sweep(sweep).inputs == {"c": {"labeller": ["a", "b"]}}
    config = load_sweep(sweep).config_of
    assert config_hash(config("c", 0)) == config_hash(config("c", 1)) == config_hash(config("c"))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}}\nensembles = {'b': []}\n",
            ValueError,
            "'b' must",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}}\nensembles = {'b': {'arm': ['a']}}\n",
            ValueError,
            "ensemble 'b' must be the name of an arm, or a dict of 'arms' and 'average'",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {'inputs': {'teacher': ['b']}}, 'b': {}}\n",
            ValueError,
            "input 'teacher' of arm 'a' comes from 'b', which is no trained arm before it",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {'trained_as': ['a']}}\n",
            ValueError,
            r"trained_as of arm 'a' must name an arm, got \['a'\]",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {'inputs': {'teacher': [['a']]}}}\n",
            ValueError,
            "inputs of arm 'a' must be a dict of names of arms, or of lists of them",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}, 'b': {'inputs': {'teacher': []}}}\n",
            ValueError,
            "inputs of arm 'b' must be a dict of names of arms, or of lists of them",
        ),
        ("config = '../tiny.py'\nseeds = [0]\n", ValueError, "lacks arms"),
        ("config = '../none.py'\nseeds = [0]\narms = {}\n", FileNotFoundError, r"none\.py does not exist"),
        ("config = '../tiny.py'\nseeds = [0]\narms = {'a': 3}\n", ValueError, "arm 'a' must be a dict"),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'x/../../a': {}}\n",
            ValueError,
            "must be a plain name",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}, 'b': {'trained_as': 'c'}}\n",
            ValueError,
            "arm 'b' is trained as 'c', which is no arm",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {}}\nbaseline = 'b'\n",
            ValueError,
            "the baseline 'b' is no arm",
        ),
        (
            "config = '../tiny.py'\nseeds = [0]\narms = {'a': {'inputs': {'teacher': 'b'}}, 'b': {}}\n",
            ValueError,
            "input 'teacher' of arm 'a' comes from 'b', which is no trained arm before it",
        ),
    ],
)
def test_bad_sweeps_are_named(sweep, text, error, message):
    sweep.write_text(text)
    with pytest.raises(error, match=message):
        load_sweep(sweep)


def test_an_arm_whose_values_have_no_place_is_named(sweep):
    sweep.write_text("config = '../tiny.py'\nseeds = [0]\narms = {'a': {'model.bakbone': 1}}\n")
    with pytest.raises(ValueError, match=rf"{sweep.name}, arm 'a': --cfg-options model\.bakbone: "):
        load_sweep(sweep).config_of("a", 0)


@functools.cache
def parameters(model: str) -> int:
    """Return the number of parameters of a model, which many arms share."""
    with without_numbers():
        return sum(p.numel() for p in MODELS.build(json.loads(model)).parameters())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_arm_of_a_shipped_sweep_is_a_model(path):
    sweep = load_sweep(path)
    for arm in sweep.arms:
        config = sweep.config_of(arm, 0)
        config.pop("per_landmark", None)  # which landmarks there are is a matter of the data
        for run in plan_of_run(config, "work", arm).runs():
            check_arguments(run.config, run.path)
            assert parameters(json.dumps(run.config.model.to_dict())) > 10_000, run.path


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "a.yaml",
            "config: !!python/object/apply:os.system ['touch {trace}']\nseeds: [0]\narms: {{}}",
            "not valid YAML",
        ),
        ("a.json", '{{"config": "a.py", "seeds": [0], "arms": {{}}}}', "which is a program, not data"),
        (
            "a.json",
            '{{"config": "a.json", "seeds": [0], "arms": {{"a": {{"x": "os.system"}}}}}}',
            "--trust os",
        ),
        ("a.json", '{{"config": 5, "seeds": [0], "arms": {{}}}}', "config of a sweep cannot be 5"),
        ("a.json", '{{"config": "a.json", "seeds": 0, "arms": {{}}}}', "seeds of a sweep cannot be 0"),
    ],
)
def test_a_sweep_in_json_or_yaml_is_data(tmp_path, name, text, told):
    trace = tmp_path / "trace"
    (tmp_path / name).write_text(text.format(trace=trace))
    with pytest.raises(ValueError, match=told) as caught:
        load_sweep(tmp_path / name)
    assert name in str(caught.value)
    assert not trace.exists()


def test_a_sweep_of_frozen_configs(tmp_path):
    config = config_to_data(tiny_config("work"))
    (tmp_path / "base.json").write_text(json.dumps(config))
    arms = dict(wide={"model.backbone.widths": [8, 20]}, narrow={})
    (tmp_path / "sweep.json").write_text(json.dumps(dict(config="base.json", seeds=[0], arms=arms)))
    sweep = load_sweep(tmp_path / "sweep.json")
    assert sweep.config_of("wide", 0).model.backbone.widths == [8, 20]
    assert sweep.config_of("narrow", 0).model.backbone.widths == [8, 16]


def write_sweep(folder, **content):
    path = folder / "sweep.json"
    path.write_text(json.dumps(dict(dict(config="base.json", seeds=[0], arms=dict(a={})), **content)))
    return path


def test_a_sweep_names_shipped_configs(tmp_path):
    name = "mmlandmark::unet/unet_phantom-ceph_160x128_cpu.py"
    path = write_sweep(tmp_path, config=name)
    assert load_sweep(path).config_of("a", 0).model.type == "LandmarkDetector"
    (tmp_path / "sweep.py").write_text(f"config = {name!r}\nseeds = [0]\narms = dict(a=dict())\n")
    assert load_sweep(tmp_path / "sweep.py").configs == load_sweep(path).configs


def test_a_sweep_that_is_data_runs_nothing(tmp_path):
    trace = tmp_path / "was_run"
    for name in ("evil.py", "mmlandmark::evil.py"):
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n")
    (tmp_path / "base.json").write_text('{"model": {"type": "LandmarkDetector"}}')
    (tmp_path / "link.json").symlink_to("evil.py")  # its name decides how it is read
    arm = {"model.teacher.config": str(tmp_path / "evil.py")}
    for content, says in (
        (dict(config="evil.py"), "config names 'evil.py', which is a program"),
        (dict(config="mmlandmark::evil.py"), "config: 'mmlandmark::evil.py' is not among the configs"),
        (dict(arms=dict(a=dict(config="mmlandmark::evil.py"))), r"arms\.a\.config: .* is not among the"),
        (dict(config="link.json"), r"link\.json, line 1: not valid JSON"),
        (dict(arms=dict(a=arm)), r"arms\.a\.model\.teacher\.config names .* is a program"),
        (dict(arms=dict(a={"model.backbone.type": "this.json"})), r"arms\.a\.model\.backbone\.type names"),
        (dict(arms=dict(a=dict(config=5))), "config of an arm must be the name of a file, got 5"),
    ):
        with pytest.raises(ValueError, match=says):
            load_sweep(write_sweep(tmp_path, **content)).config_of("a", 0)
    assert not trace.exists()
