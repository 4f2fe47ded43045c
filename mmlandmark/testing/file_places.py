"""Every place where a command takes a file, or a config names one, from the parsers of the commands."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mmlandmark import registry
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.registry import DATASETS
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config, tiny_model
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.command_line import KeyValues, NamedFiles, TrustPackages
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.utils.run_inputs import RunInput

# Commands that read no file of somebody else, and why.
NO_FILES = {
    "launch": "starts other commands in further processes",
    "demo": "runs other commands on data that it makes",
    "phantoms": "writes only",
    "benchmark-ops": "times generated tensors",
    "benchmark-volumes": "times files that it writes",
    "benchmark-memory": "measures generated volumes",
    "measure-checks": "counts faults in generated shapes",
    "check-cuda-compile": "compiles our sources",
    "gpu-wheels": "downloads packages by fixed names",
    "gpu-day": "runs other commands",
}
WRITTEN = {"out", "work_dir", "plot", "report", "record", "figure"}  # arguments that name results
# Arguments of data sets that name files.
DATASET_FILES = (
    "ann_file", "data_root", "image_dir", "schema", "ids", "fold_dir", "pixel_size_file", "stack_file",
)  # fmt: skip
# What every command needs to begin to work; names in braces are those of a Site.
BASE: dict[str, dict[str, list[str]]] = {
    "plan": dict(data=["{data}"], out=["{out}"], yes=[], minutes=["0.01"]),
    "self-train": dict(data=["{data}"], unlabelled=["{images}"], out=["{out}"], yes=[], minutes=["0.01"]),
    "one-shot": dict(template=["{image}"], points=["{data}"], images=["{images}"], minutes=["0.01"]),
    "train": dict(config=["{config}"], work_dir=["{out}"]),
    "test": dict(config=["{config}"], checkpoint=["{checkpoint}"], work_dir=["{out}"], no_figures=[]),
    "predict": dict(model=["{model}"], inputs=["{image}"], workers=["0"]),
    "cross-validate": dict(config=["{config}"], num_folds=["2"], work_dir=["{out}"], list=[]),
    "sweep": dict(sweep=["{sweep}"], work_dir=["{out}"], list=[]),
    "ensemble": dict(runs=["{run}", "{run}"], out=["{out}"]),
    "calibrate": dict(model=["{model}"], data=["{config}"], out=["{out}.mml.pth"]),
    "learn-shapes": dict(data=["{config}"]),
    "check": dict(config=["{config}"], out=["{out}"], no_images=[]),
    "browse": dict(config=["{config}"], num=["1"], out=["{out}.png"]),
    "split": dict(config=["{config}"], parts=["a=1", "b=1"], out=["{out}"]),
    "select-template": dict(images=["{images}"], out=["{out}"], limit=["2"]),
    "convert": dict(data=["{data}"], out=["{out}.csv"], to=["csv"]),
    "pack-data": dict(config=["{config}"], size=["32", "32"], out=["{out}"]),
    "collect": dict(configs=["{folder}"], check=[]),
    "compare": dict(records=["{record}", "{record}"], against=["a"]),
    "draw-figures": dict(figure=["landmark-curves"], sources=["{run}"], out=["{out}.png"]),
    "pack": dict(source=["{config}"], checkpoint=["{checkpoint}"]),
    "print-config": dict(config=["{config}"]),
    "flops": dict(config=["{config}"], rounds=["0"]),
    "export": dict(model=["{model}"], out=["{out}.pt2"]),
    "benchmark-loader": dict(folder=["{images}"], images=["1"], rounds=["1"], study_images=["1"]),
    "benchmark-training": dict(
        config=["{config}"], rounds=["1"], size=["64", "64"], memory_of=["mmlandmark"]
    ),
    "benchmark-inference": dict(models=["{model}"], rounds=["1"]),
}


@dataclass(frozen=True)
class Place:
    """Where a file can be given.

    Attributes:
        command: Of ``mmlandmark``.
        words: The whole command line; ``{file}`` stands for the file, other names in braces for the valid
            files of :func:`make_site`.
        name: The argument, or key of a config.
    """

    command: str
    words: tuple[str, ...]
    name: str


def _parser(command: str) -> argparse.ArgumentParser:
    # By its name, as on a command line: commands stand on the floor above.
    return import_module("mmlandmark.cli.entry").make_parser(command)


def _takes_text(action: argparse.Action) -> bool:
    free = action.nargs != 0 and action.choices is None and action.type in (None, Path)
    return free and action.dest not in WRITTEN and not isinstance(action, KeyValues | TrustPackages)


def words_of(command: str, given: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the command line of a command, with values by destination; options come last."""
    options, positional = list[str](), list[str]()
    for action in _parser(command)._actions:
        if action.dest in given and action.option_strings:
            options += [action.option_strings[-1], *given[action.dest]]
        elif action.dest in given:
            positional += given[action.dest]
    return (*positional, *options)


def places() -> Iterator[Place]:
    """Yield every argument of a command that takes text, and every key of a config that names a file."""
    commands = [name for name in import_module("mmlandmark.cli.entry").COMMANDS if name not in NO_FILES]
    for command in commands:
        base = BASE[command]
        for action in _parser(command)._actions:
            if _takes_text(action):
                count = action.nargs if isinstance(action.nargs, int) else 1
                names = run_inputs() if isinstance(action, NamedFiles) else {"": ""}
                for name in names:
                    file = f"{name}={{file}}" if name else "{file}"
                    words = words_of(command, {**base, action.dest: [file] * count})
                    yield Place(command, words, action.dest + name)
        if any(isinstance(action, KeyValues) for action in _parser(command)._actions):
            for pairs in config_keys() if command == "train" else [["load_from={file}"]]:
                given = {**base, "options" if command == "check" else "cfg_options": pairs}
                yield Place(command, words_of(command, given), pairs[-1].split("=")[0])
    yield from _dataset_places()


def _dataset_places() -> Iterator[Place]:
    """Yield every argument of every data set that names a file."""
    for name, kind in DATASETS.module_dict.items():
        arguments = set(inspect.signature(kind).parameters) & set(DATASET_FILES)
        for argument in sorted(arguments) if kind.__module__.startswith("mmlandmark.") else ():
            words: tuple[str, ...] = (
                "--type",
                name,
                "--out",
                "{out}",
                "--no-images",
                "--options",
                f"{argument}={{file}}",
            )
            flags = {"ann_file": "--ann-file", "data_root": "--data-root", "image_dir": "--image-dir"}
            if argument in flags:
                words = (*words[:5], flags[argument], "{file}")
            if argument != "data_root":
                words = (*words, "--data-root", "{folder}")
            yield Place("check", words, f"{name}.{argument}")


def run_inputs() -> dict[str, RunInput]:
    """Return what the registered models and hooks declare as inputs of a run, by name."""
    found: dict[str, RunInput] = {}
    for one in (registry.MODELS, registry.HOOKS):
        for kind in one.module_dict.values():
            found.update(getattr(kind, "run_inputs", {}))
    return found


def config_keys() -> list[list[str]]:
    """Return options of a training, each with a key that names a file."""
    labels = "[{'type': 'PseudoLabelHook', 'labeller': '{file}'}]"
    template = "[{'type': 'TemplateHook', 'template': {'type': 'LandmarkDataset', 'ann_file': '{file}'}}]"
    folder = "train_dataloader.unlabelled={'type': 'ImageFolderDataset', 'image_dir': '{images}'}"
    keys = [["load_from={file}"], [folder, f"custom_hooks={labels}"], [f"custom_hooks={template}"]]
    for part in ("model", "model.backbone", "model.head"):
        keys.append([f"{part}.init_cfg.type=Pretrained", f"{part}.init_cfg.checkpoint={{file}}"])
    keys += [[f"train_dataloader.dataset.{name}={{file}}"] for name in DATASET_FILES[:6]]
    keys += [
        [f"model.{key}={{file}}"] for one in run_inputs().values() for key in (one.file, one.config) if key
    ]
    return keys


def make_site(root: Path) -> dict[str, str]:
    """Write valid files of all kinds; return their paths by the names in :data:`BASE`."""
    data = root / "data"
    size = ("--size", "64", "64", "--num-train", "4", "--num-val", "2", "--num-test", "2")
    import_module("mmlandmark.cli.entry").invoke("phantoms", ["--kind", "ceph", *size, "--out", str(data)])
    config = tiny_config(root / "work", max_epochs=1)
    for split in ("train", "val", "test"):
        steps = phantom_dataloader(train=split == "train")["dataset"]["pipeline"]
        config[f"{split}_dataloader"].dataset = dict(
            type="LandmarkDataset",
            ann_file="annotations.json",
            data_root=str(data),
            split=split,
            pipeline=steps,
        )
    content, model = config_to_data(config), tiny_model()
    atomic_write_json(root / "config.json", content)
    atomic_write_json(root / "run" / "config.json", content)
    arms = dict(one={}, two={"train_cfg.max_epochs": 2})
    atomic_write_json(root / "sweep.json", dict(config="config.json", seeds=[0], arms=arms))
    atomic_write_json(root / "record.json", dict(config="a", seed=0, metrics=dict(mre=1.0), config_hash="a"))
    meta = dict(resolved_config=json.dumps(content), epoch=1, seed=0)
    save_checkpoint(dict(state_dict=model.state_dict, meta=meta), root / "run" / "epoch_1.pth")
    model.save(root / "small.mml.pth")
    image = sorted((data / "images").iterdir())[0]
    named = dict(
        data=data / "annotations.json", images=data / "images", image=image, folder=data, run=root / "run",
        checkpoint=root / "run" / "epoch_1.pth", config=root / "config.json", model=root / "small.mml.pth",
        sweep=root / "sweep.json", record=root / "record.json",
    )  # fmt: skip
    return {name: str(path) for name, path in named.items()}
