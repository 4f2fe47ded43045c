"""Arms of all kinds of the shipped sweeps take an optimiser step, on two phantoms and with small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.apis import load_sweep, prepare_config
from mmlandmark.engine import LandmarkRunner, latest_checkpoint, load_config, plan_of_stages
from part_of_cases import mostly_slow, one_of_each
from test_configs import FEW, find_all, put_phantoms
from test_configs import kind_of as config_kind

ROOT = Path(__file__).parents[2]
SWEEPS = {
    f"{path.parents[1].name}/{path.stem}": load_sweep(path)
    for path in sorted((ROOT / "configs").glob("*/sweeps/*.py"))
}


# Two phantoms take the place of the images, whichever and however many there are.
COUNTS = {f"train_dataloader.dataset.{key}" for key in ("indices", "times", "dataset.ids")}


def own_trainings(sweep):
    """Return the arms whose training is unlike that of another: on other data, or at all."""
    seen = []
    for arm, options in sweep.arms.items():
        training = {key: value for key, value in options.items() if key not in COUNTS}
        training["config"] = sweep.configs[arm]
        if sweep.trained_as[arm] == arm and training not in seen:
            seen.append(training)
            yield arm


def without_numbers(value: Any) -> Any:
    """Return options in which numbers are only zero or not, and lists of alike values hold one."""
    if isinstance(value, dict):
        return {key: without_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return sorted({json.dumps(without_numbers(inner), sort_keys=True, default=str) for inner in value})
    return bool(value) if isinstance(value, int | float) else value


def kind_of(place: tuple[str, str]) -> str:
    """Return what an arm changes, numbers and images aside, and of which method."""
    name, arm = place
    sweep = SWEEPS[name]
    options = {k: v for k, v in sweep.arms[arm].items() if k not in COUNTS and "_dataloader.dataset" not in k}
    method, variant, dims, _ = config_kind(Path(sweep.configs[arm]))
    what = [method, variant.split("_")[0].removesuffix("-narrow"), dims, len(sweep.inputs.get(arm, {}))]
    return json.dumps([what, without_numbers(options)], sort_keys=True)


EVERY = [(name, arm) for name, sweep in SWEEPS.items() for arm in own_trainings(sweep)]
ARMS = {f"{name} {arm}": (name, arm) for name, arm in one_of_each(EVERY, kind_of)}


class Steps(Hook):
    """Watch which weights are taught in the first step, and whether it moves them."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter:
            return
        learning = {k: v for k, v in runner.model.named_parameters() if v.requires_grad}
        self.before = {k: v.detach().clone() for k, v in learning.items()}
        self.taught = set()
        self.watching = [
            weight.register_post_accumulate_grad_hook(lambda _, name=name: self.taught.add(name))
            for name, weight in learning.items()
        ]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        weights = dict(runner.model.named_parameters())
        self.finite = all(bool(torch.isfinite(v).all()) for v in weights.values())
        if not runner.iter:
            self.loss = outputs["loss"].item()
            for hook in self.watching:
                hook.remove()
            self.moved = {k for k, v in self.before.items() if not torch.equal(v, weights[k])}
        self.steps, self.planned = runner.optim_wrapper._inner_count, runner.max_iters


def take_a_step(name: str, arm: str, folder: Path, inputs: dict[str, list[Path]] | None = None) -> Steps:
    """Train an arm, or its first stage, for one step, as the tool would; ``folder`` gets its checkpoint."""
    sweep, given = SWEEPS[name], {}
    for key, made_in in (inputs or {}).items():
        files = [str(latest_checkpoint(maker)) for maker in made_in]
        given[key] = files if len(files) > 1 else files[0]
    start = {key: given.pop(key) for key in ("load_from",) if key in given}
    config = prepare_config(
        sweep.configs[arm], options=sweep.arms[arm] | start, inputs=given, work_dir=str(folder), seed=0
    )
    if config.get("stages"):
        config = plan_of_stages(config, str(folder)).children[0].config
    config.work_dir = str(folder)
    put_phantoms(config, FEW.get(name.split("/")[0]))
    config.launcher, config.log_level = "none", "WARNING"
    config.train_cfg.val_begin = 2  # never, but pseudo labels are made in the pipeline of the validation
    config.test_dataloader = config.test_evaluator = config.test_cfg = None
    runner, steps = LandmarkRunner.from_cfg(config), Steps()
    runner.register_hook(steps, priority="LOWEST")
    runner.train()
    return steps


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """Return the folder of an arm that makes an input of others, trained for one step when first asked."""
    folders: dict[tuple[str, str], Path] = {}

    def folder_of(name: str, arm: str) -> Path:
        if (name, arm) not in folders:
            folders[name, arm] = tmp_path_factory.mktemp("maker")
            take_a_step(name, arm, folders[name, arm])
        return folders[name, arm]

    return folder_of


@pytest.mark.parametrize("place", mostly_slow(ARMS.values(), 30), ids=ARMS)
def test_it_takes_a_step(place, tmp_path, makers):
    """Arms that change the same in other numbers or images stand for each other."""
    name, arm = place
    made_by = SWEEPS[name].inputs.get(arm, {})
    inputs = {key: [makers(name, maker) for maker in arms] for key, arms in made_by.items()}
    steps = take_a_step(name, arm, tmp_path, inputs)
    assert 1 <= steps.steps == steps.planned <= 2  # two where labelled and other images take turns
    assert steps.loss > 0
    assert steps.finite
    untaught = set(steps.before) - steps.taught
    # A step may be of one landmark; all other adapters wait for theirs.
    waiting = {name for name in steps.before if name.startswith("neck.adapters.")}
    assert untaught <= waiting, "weights that nothing teaches"
    assert not waiting or len({name.split(".")[2] for name in steps.taught & waiting}) == 1
    # What is not to learn stands still.
    assert bool(steps.moved) == bool(SWEEPS[name].arms[arm].get("optim_wrapper.optimizer.lr", 1))


@pytest.mark.slow
@pytest.mark.parametrize("data", ["isbi2015_512x512", "hand_512x256", "hip_512x256"])
def test_arms_of_fsf_ld_are_its_configs(data):
    """The networks and terms of the sweeps are those of the configs, which are trained in stages."""
    (sweep,) = (sweep for name, sweep in SWEEPS.items() if name.startswith("fsf_ld/") and name.endswith(data))
    names = {"hrnet": "hrnet-w18", "unet4": "unet4", "unet5": "unet5", "seg-unet5": "seg-unet5"}
    for arm, ((teacher,),) in ((arm, made.values()) for arm, made in sweep.inputs.items()):
        names[arm] = f"{arm}_unet4"
        assert arm.endswith(f"_{teacher}")
    for arm, leaf in names.items():
        config = load_config(ROOT / "configs" / "fsf_ld" / f"{leaf}_{data}.py")
        if config.get("stages"):
            config = plan_of_stages(config, "work_dirs/x").children[-1].config
        own = load_config(sweep.configs[arm], sweep.arms[arm])
        for model in (config.model, own.model):
            model.pop("teacher", None)
        assert own.model.to_dict() == config.model.to_dict(), arm
        assert own.train_dataloader == config.train_dataloader
        second = load_config(sweep.configs[arm], sweep.arms[f"{arm}_test2"])
        assert find_all(second.test_dataloader, "ids")[0].endswith("/test2.txt")
