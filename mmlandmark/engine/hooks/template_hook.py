"""Encodes the templates of a detector whenever its weights have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import broadcast
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn
from torch.func import functional_call

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine.hooks.pseudo_label_hook import PseudoLabelHook
from mmlandmark.engine.labelling import evaluating
from mmlandmark.engine.processes import bare
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.models.detectors.template_learner import shown_landmarks
from mmlandmark.registry import DATASETS, HOOKS
from mmlandmark.utils.dataset_tree import change_leaves, leaf_configs
from mmlandmark.utils.run_inputs import RunInput

_LOADERS = ("val_dataloader", "test_dataloader")


@HOOKS.register_module()
class TemplateHook(Hook):
    """Give a :class:`~mmlandmark.models.detectors.TemplateDetector` the features of its templates.

    They are encoded by the current weights before each epoch of training, validation and test, and are the
    same in all processes. A checkpoint holds those of the weights in it, also of averaged ones, so that
    prediction needs no template.

    Args:
        template: Config of a dataset of annotated images, or what differs from that of the validation, or
            else of the test: ``dict(split="train", ids=["125"])``. All its samples are templates.
        pipeline: From an image to the network's input; None takes that of the dataset, without augmentation.

    Raises:
        ValueError: ``template`` names no dataset, and there is neither validation nor test.
    """

    # Behind the mean of the weights, which takes their place for a validation and in a checkpoint.
    priority = "LOW"
    provides = ("template",)
    run_inputs = {"template": RunInput("template.ann_file")}

    def __init__(self, template: Mapping[str, Any], pipeline: Sequence[dict] | None = None) -> None:
        self.template, self.pipeline = dict(template), pipeline
        self._batches: list[Any] = []
        self._dataset: LandmarkDataset | None = None

    def check_run(self, run: RunContext, model: Any) -> None:
        """Raise ValueError if the detector takes no template, or it is unknown where they come from.

        So it is if the training learns from templates that would not follow its weights.
        """
        if not hasattr(model, "learn_templates"):
            raise ValueError(
                f"TemplateHook needs a detector that takes templates, such as TemplateDetector, not "
                f"{type(model).__name__}"
            )
        self._config(run.config)
        epochs = (run.config.get("train_cfg") or {}).get("by_epoch", True)
        if not epochs and (model.learns_from_templates or run.has_hook(PseudoLabelHook)):
            raise ValueError(
                "TemplateHook: a loop without epochs encodes templates before the training and in "
                "validations only, and this one learns from them: count epochs (train_cfg.by_epoch=True)"
            )

    def _config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of the templates' dataset."""
        loaders = [config.get(name) for name in _LOADERS]
        leaves = [leaf_configs(loader["dataset"])[0] for loader in loaders if loader]
        if "type" not in self.template and not leaves:
            raise ValueError(
                "TemplateHook: template names no type of dataset, and there is neither val_dataloader nor "
                "test_dataloader to take one from"
            )
        own = dict(self.template) if "type" in self.template else {**leaves[0], **self.template}
        usual = leaves[0]["pipeline"] if leaves else ()

        def read_once(leaf: Mapping[str, Any]) -> dict[str, Any]:
            uncached = {key: value for key, value in leaf.items() if key != "image_cache"}
            return uncached | dict(pipeline=self.pipeline or leaf.get("pipeline") or usual)

        return change_leaves(own, read_once)

    def left_out(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the landmarks that no template shows, see :mod:`mmlandmark.engine.run_checks`."""
        dataset = DATASETS.build(self._config(config))
        samples = [dataset[index]["data_samples"] for index in range(len(dataset))]
        shown = torch.stack([shown_landmarks(sample) for sample in samples]).any(0).tolist()
        why = f"template {_ids(samples)} does not show it"
        names = dataset.metainfo["landmark_names"]
        return {name: why for name, known in zip(names, shown, strict=True) if not known}

    def before_run(self, runner: Runner) -> None:
        """Read the templates; a broken or missing one ends the run before it begins."""
        self._dataset = DATASETS.build(self._config(runner.cfg))
        self._batches = [pseudo_collate([self._dataset[index]]) for index in range(len(self._dataset))]

    def refresh(self, runner: Runner) -> None:
        """Encode the templates by the weights as they are, the same in every process.

        Raises:
            ValueError: There are more or fewer than the detector takes, or they show no landmark.
        """
        for model in self._models(runner):
            with evaluating(model):
                model.learn_templates(self._batches)
            for name in model.remade_buffers:
                broadcast(model.get_buffer(name))
        if self._dataset is not None:
            self._report(runner, bare(runner).shown_landmarks.tolist(), self._dataset)
            self._dataset = None  # reported, and no longer needed

    @staticmethod
    def _models(runner: Runner) -> list[Any]:
        """Return the detector and, where the run keeps one, that with the mean of its weights."""
        means = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        return [bare(runner), *means]

    def _report(self, runner: Runner, shown: Sequence[bool], dataset: LandmarkDataset) -> None:
        ids = _ids([batch["data_samples"][0] for batch in self._batches])
        names = dataset.metainfo["landmark_names"]
        missing = [name for name, known in zip(names, shown, strict=True) if not known]
        if len(missing) == len(names):
            raise ValueError(f"TemplateHook: template {ids} shows none of {len(names)} landmarks")
        runner.logger.info(f"template {ids} shows {len(names) - len(missing)} of {len(names)} landmarks")
        if missing:
            runner.logger.warning(
                f"template {ids} does not show {', '.join(map(repr, missing))}, which will not be predicted: "
                "annotate them there, or add another template"
            )

    def before_train(self, runner: Runner) -> None:
        """Encode by the weights that the training begins with, now that they are loaded."""
        self.refresh(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Encode for whatever predicts before the next epoch."""
        self.refresh(runner)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Encode before the first batch, by the weights that are validated."""
        if batch_idx == 0:
            self.refresh(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Encode by the weights that the training goes on with."""
        self.refresh(runner)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Encode before the first batch, by the weights that are tested."""
        if batch_idx == 0:
            self.refresh(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Encode by the weights that are saved; only the main process saves."""
        model, state = bare(runner), checkpoint["state_dict"]
        device, keys = next(model.parameters()).device, model.remade_buffers
        # Copies of what is written: a state dict shares its values with the model.
        lent = {key: value.to(device, copy=key in keys) for key, value in state.items()}
        with evaluating(model):
            functional_call(_Learner(model), {f"model.{key}": v for key, v in lent.items()}, (self._batches,))
        for key in keys:
            state[key] = lent[key].to(state[key].device)


def _ids(samples: Sequence[Any]) -> str:
    """Return the names of templates; augmented copies of one have one name."""
    return ", ".join(dict.fromkeys(repr(sample.sample_id) for sample in samples))


class _Learner(nn.Module):
    """Lets a model learn templates in a forward pass, by the weights that are lent to it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batches: Sequence[Any]) -> None:
        self.model.learn_templates(batches)
