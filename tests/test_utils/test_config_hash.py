"""The hash of a config: the same for the same experiment, another for any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mmengine.config import Config

from mmlandmark.utils.config_hash import config_hash

ROOT = Path(__file__).parents[2]
BASE = dict(
    optim_wrapper=dict(lr=0.1),
    model=dict(type="UNet"),
    work_dir="a",
    randomness=dict(seed=0, deterministic=True),
)


def test_it_sees_the_config_and_not_the_run():
    same = dict(
        model=dict(type="UNet"),
        optim_wrapper=dict(lr=0.1),
        work_dir="b",
        resume=True,
        load_from="c.pth",
        launcher="pytorch",
        experiment_name="d",
        randomness=dict(seed=5, deterministic=True),
        data_root="/elsewhere",
        log_level="ERROR",
        default_hooks=dict(checkpoint=dict(interval=3)),
        rate=0.1,  # a variable of the author
        train_dataloader=[dict(split="train", image_cache=dict(mode="ram"), num_workers=4)],
    )
    base = dict(BASE, train_dataloader=[dict(split="train", data_root="here")])
    assert config_hash(base) == config_hash(same) == config_hash(Config(base))
    same.pop("train_dataloader")
    assert config_hash(BASE) == config_hash(same) == config_hash(Config(BASE))
    taught = [
        dict(BASE, stages=[dict(custom_hooks=[dict(type="PseudoLabelHook", labeller=source)])])
        for source in (["run:a_seed0:last"], ["run:a_seed1:last"], ["run:b_seed1:last"])
    ]
    assert [config_hash(config) == config_hash(taught[0]) for config in taught] == [True, True, False]
    assert len({config_hash(config, with_start=True) for config in taught}) == 3
    others = [
        {**BASE, "optim_wrapper": dict(lr=0.2)},
        {**BASE, "model": dict(type="UNet", depth=3)},
        {**BASE, "randomness": dict(seed=0, deterministic=False)},
        # Not a hook that only logs or saves.
        {**BASE, "default_hooks": dict(pseudo_labels=dict(type="PseudoLabelHook", start=3))},
        {**BASE, "default_hooks": dict(pseudo_labels=dict(type="PseudoLabelHook", start=5))},
    ]
    assert len({config_hash(c) for c in [BASE, *others]}) == 6


def test_seeds_are_told_apart_on_request():
    other = {**BASE, "randomness": dict(seed=5, deterministic=True)}
    assert config_hash(BASE) == config_hash(other)
    assert config_hash(BASE, with_start=True) != config_hash(other, with_start=True)


def test_the_file_that_a_part_starts_from_is_no_part_of_the_experiment():
    """A coarse detector of another fold lies in another folder; published weights are another experiment."""

    def starting(checkpoint):
        part = dict(type="UNet", init_cfg=dict(type="Pretrained", checkpoint=checkpoint))
        return dict(BASE, model=dict(type="Pair", coarse=part, others=[part]))

    files = [starting(f"/runs/fold_{n}/01_coarse/best_{n}.pth") for n in (0, 1)]
    assert config_hash(files[0]) == config_hash(files[1])
    assert config_hash(files[0], with_start=True) != config_hash(files[1], with_start=True)
    published = [starting(f"package://{name}") for name in ("small", "large")]
    assert len({config_hash(one) for one in [files[0], *published]}) == 3


def test_it_leaves_the_config_as_it_is():
    config = Config(BASE)
    config_hash(config)
    config_hash(BASE)
    assert config.work_dir == BASE["work_dir"] == "a"
    assert config.randomness.seed == BASE["randomness"]["seed"] == 0


def test_values_that_are_no_json():
    def digest(value):
        return config_hash({"model": dict(type=value)})

    assert digest(dict) == digest(dict) != digest(list)
    assert digest(Path("x")) == digest(Path("x")) != digest(Path("y"))


def test_it_is_the_same_in_another_process():
    # A set, a hash seed or an address in memory would make it differ.
    code = (
        "from mmlandmark.utils.config_hash import config_hash\n"
        "class Thing: pass\n"
        "print(config_hash(dict(model=dict(a=Thing(), b=print, c=dict(z=1, y=2)))))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONHASHSEED=seed),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1
    assert len(hashes.pop().strip()) == 16
