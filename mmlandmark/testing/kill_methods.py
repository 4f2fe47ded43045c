"""The smallest training of every method that still goes through all of its phases, for :mod:`.kills`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from mmengine.config import Config

from mmlandmark.datasets.phantom import phantom_dataset
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config
from mmlandmark.utils.files import atomic_write_json

LANDMARKS = ("sella", "menton")


@dataclass(frozen=True)
class Method:
    """A method, and the command that trains it.

    Attributes:
        prepare: Writes configs and data into a folder, and returns the words of the command, in which
            ``{out}`` stands for the folder of a training.
        held: What else depends on time or on the machine, as a context.
    """

    prepare: Callable[[Path], list[str]]
    held: Callable[[], AbstractContextManager] = nullcontext


def training(config: Path) -> list[str]:
    """Return the words that train a config, and go on with it."""
    return ["train", str(config), "--work-dir", "{out}", "--resume"]


def _trained(make: Callable[..., Config], **arguments: Any) -> Method:
    """Return the method of a config for ``mmlandmark train``."""

    def prepare(folder: Path) -> list[str]:
        make("unused", **arguments).dump(folder / "config.py")
        return training(folder / "config.py")

    return Method(prepare)


def taught(work_dir: str | Path, epochs: Sequence[int] = (1, 2)) -> Config:
    """Return the config of a teacher and of a student that learns from its features.

    Args:
        work_dir: Its work folder.
        epochs: Of each.
    """
    config = tiny_config(work_dir)
    teacher = copy.deepcopy(config.model.to_dict())
    teacher["backbone"]["widths"] = (8, 16, 16)
    terms = [
        dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up2")], weight=0.1),
        dict(
            loss=dict(type="FeatureMSELoss", student_channels=8, teacher_channels=16),
            pairs=[("backbone.up1", "backbone.up1")],
        ),
    ]
    student = dict(
        config.model.to_dict(),
        type="DistilledDetector",
        teacher=dict(checkpoint="run:teacher:last"),
        terms=terms,
    )
    config.stages = [
        dict(name="teacher", model=teacher, train_cfg=dict(max_epochs=epochs[0])),
        dict(
            name="student",
            model=student,
            train_cfg=dict(max_epochs=epochs[1]),
            custom_hooks=[dict(type="TeacherHook", num_samples=0)],
        ),
    ]
    return config


def three_stages(work_dir: str | Path, by_epoch: bool = True, epochs: Sequence[int] = (2, 3, 1)) -> Config:
    """Return the config of three stages of self-training on nine phantoms, three of them without annotation.

    Args:
        work_dir: Its work folder.
        by_epoch: Whether the labels are made by epoch, or by batch.
        epochs: Of each stage.
    """
    loader = phantom_dataloader(num_samples=6)
    own = dict(
        sampler=dict(_delete_=True, type="LabelledShareSampler"), unlabelled=dict(offset=50, num_samples=3)
    )
    labels = dict(
        type="PseudoLabelHook", by_epoch=by_epoch, selector=dict(type="ShapeRegulator", limit=500.0)
    )
    more: list[dict[str, Any]] = [
        dict(),
        dict(load_from="run:pre_train:last", train_dataloader=own, custom_hooks=[labels]),
        dict(load_from="run:self_train:last"),
    ]
    stages = [
        dict(part, name=name, train_cfg=dict(max_epochs=number))
        for part, name, number in zip(more, ("pre_train", "self_train", "fine_tune"), epochs, strict=True)
    ]
    return tiny_config(work_dir, train_dataloader=loader, stages=stages)


def two_landmarks(work_dir: str | Path, epochs: Sequence[int] = (2, 2)) -> Config:
    """Return the config of a model for each of two landmarks, in two stages, with a template and four images.

    Args:
        work_dir: Its work folder.
        epochs: Of each stage.
    """
    loader, data = phantom_dataloader(), dict(landmarks=list(LANDMARKS))
    loader["dataset"] |= data
    copies = dict(loader["dataset"], offset=7, num_samples=1)
    template = dict(type="TemplateHook", template=dict(offset=7, num_samples=1))
    labels = dict(type="PseudoLabelHook", first="random", selector=dict(type="KeepAll"))
    more: list[dict[str, Any]] = [
        dict(
            name="ssl",
            model=dict(patches=dict(around="anywhere")),
            train_dataloader=dict(dataset=dict(unlabelled=True)),
            custom_hooks=[template],
        ),
        dict(
            name="sla",
            load_from="run:ssl:last",
            train_dataloader=dict(
                sampler=dict(_delete_=True, type="PartsInTurnSampler"),
                dataset=dict(_delete_=True, type="RepeatDataset", times=4, fixed=True, dataset=copies),
                unlabelled=dict(offset=0, num_samples=4),
            ),
            custom_hooks=[template, labels],
        ),
    ]
    return tiny_config(
        work_dir,
        per_landmark=True,
        model=dict(
            type="TemplateDetector",
            backbone=dict(widths=(4, 8), out_indices=(0, 1)),
            head=dict(
                _delete_=True,
                type="TemplateHead",
                num_landmarks=len(LANDMARKS),
                codec=dict(type="GaussianHeatmapCodec", sigma=2.0, decoder="argmax"),
            ),
            contrast=dict(type="CascadeContrastLoss"),
            patches=dict(around="landmarks"),
        ),
        train_dataloader=loader,
        val_dataloader=dict(dataset=data),
        test_dataloader=dict(dataset=data),
        stages=[
            dict(part, train_cfg=dict(max_epochs=number)) for part, number in zip(more, epochs, strict=True)
        ],
    )


def _folds(folder: Path) -> list[str]:
    """Write a config of which two folds are trained, tested and pooled."""
    config = tiny_config("unused")
    config.train_dataloader.dataset.split = "train"
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.offset = 0
    config.dump(folder / "config.py")
    return ["cross-validate", str(folder / "config.py"), "--num-folds", "2", "--work-dir", "{out}"]


def _sweep(folder: Path) -> list[str]:
    """Write a sweep of two arms and two seeds, of which one arm starts from the other."""
    atomic_write_json(folder / "config.json", config_to_data(tiny_config("unused", max_epochs=1)))
    second: dict[str, Any] = {"inputs": dict(load_from="first"), "optim_wrapper.optimizer.lr": 1e-2}
    arms = dict(first={}, second=second)
    atomic_write_json(folder / "sweep.json", dict(config="config.json", seeds=[0, 1], arms=arms))
    words = ["sweep", str(folder / "sweep.json"), "--work-dir", "{out}/runs"]
    return [*words, "--results", "{out}/results"]


def _one_shot(folder: Path) -> list[str]:
    """Write phantoms, of which one is the template."""
    data = folder / "data"
    size = ("--size", "96", "80", "--num-train", "12", "--num-test", "0")
    import_module("mmlandmark.cli").invoke("phantoms", ["--kind", "ceph", *size, "--out", str(data)])
    template = sorted((data / "images").iterdir())[0]
    words = ["one-shot", "--template", str(template), "--points", str(data / "annotations.json")]
    words += ["--images", str(data / "images"), "--minutes", "5", "--random-start"]
    return [*words, "-o", "{out}/detector.mml.pth"]


@contextmanager
def _held_speed() -> Iterator[None]:
    """Let a plan be the same on a busy machine, by a speed that is not measured; with few images seen."""
    # By their names: plans are made beside the room of tests.
    rules = "mmlandmark.planning.one_shot_rules"
    speed = import_module("mmlandmark.planning.budget_rules").Speed(0.1, 0.001, 1.0, 8)
    with (
        mock.patch(f"{rules}.MOST_IMAGES", 16),
        mock.patch(f"{rules}.FEWEST_SEEN", 8),
        mock.patch("mmlandmark.planning.one_shot.measure_one_shot", return_value=speed),
    ):
        yield


@contextmanager
def quick() -> Iterator[None]:
    """Render each phantom once, for all forks, and leave the texts of configs as they are."""
    render, known = phantom_dataset.render_phantom, dict[str, Any]()

    def remembered(*arguments: Any) -> Any:
        key = repr(arguments)  # sizes may be lists
        if key not in known:
            known[key] = render(*arguments)
        return copy.deepcopy(known[key])

    with (
        mock.patch.object(phantom_dataset, "render_phantom", remembered),
        mock.patch("mmengine.config.config.FormatCode", lambda text, **_: (text, True)),
    ):
        yield


METHODS: dict[str, Method] = {
    "supervised": _trained(tiny_config),
    "distillation": _trained(taught),
    "cross-validation": Method(_folds),
    "sweep": Method(_sweep),
    "self-training": _trained(three_stages, epochs=(1, 2, 1)),
    "self-training by batch": _trained(three_stages, by_epoch=False, epochs=(1, 2, 1)),
    "one-shot plan": Method(_one_shot, _held_speed),
    "model per landmark": _trained(two_landmarks),
}
