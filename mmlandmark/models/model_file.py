"""One file with all that a detector needs: weights, config, landmarks, calibration, and where it comes from.

The file is a checkpoint (a zip archive of torch that ends with a hash of its content), so that everything
that takes the weights of a checkpoint can read it. What it says beside the weights is JSON. Loading it runs
no code, see ``docs/security.md``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from torch import Tensor

from mmlandmark.models.detector_weights import check_detector, check_maps, detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.frozen_config import build_steps, check_frozen, check_plain
from mmlandmark.structures import LandmarkSchema, metainfo_of
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.files import parse_json
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.sentences import one_line
from mmlandmark.version import __version__

FORMAT = "mmlandmark-model"
FORMAT_VERSION = 1
_TEXTS = ("name", "licence")
_DATA = ("config", "schema", "calibration", "measured", "training")
_KEYS = ("format", "format_version", "state_dict", *_TEXTS, *_DATA)
_LONGEST = {"name": 200, "licence": 20_000}
_LONGEST_DATA = 2**24


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a model file. :func:`dataclasses.replace` changes parts of it.

    Attributes:
        name: Of the detector, in one line.
        config: ``model`` and ``pipeline``, from an image to the network's input. For
            ``mmlandmark test`` also ``test_dataloader``, ``test_evaluator`` and ``test_cfg``.
        state_dict: Weights by name, in single precision.
        schema: The landmarks.
        calibration: See :mod:`mmlandmark.evaluation`; None without one.
        measured: Results of tests: name of the test -> its numbers.
        training: How it was trained: config, seed, epochs, data.
        licence: Terms of use, and where data and weights come from.
        half: Whether the file stores kernels in half precision. All else, and kernels with values that half
            precision cannot hold, stay in single precision, and so do computations.
    """

    name: str
    config: dict[str, Any]
    state_dict: dict[str, Tensor]
    schema: LandmarkSchema
    calibration: dict[str, Any] | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    half: bool = False

    @classmethod
    def load(cls, path: str | Path, trust: bool = False) -> ModelFile:
        """Read and check a model file.

        Args:
            path: The file.
            trust: Accept classes of any package. By default a class must be registered, or of a package that
                ``MMLANDMARK_TRUST`` or ``--trust`` names.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no model file, damaged, of a newer version, or holds something that it must not;
                one sentence says what.
        """
        return cls.from_content(load_checkpoint(path), f"model file {path}", trust)

    @classmethod
    def from_content(cls, content: dict[str, Any], where: str, trust: bool = False) -> ModelFile:
        """Check what :func:`~mmlandmark.utils.checkpoint.load_checkpoint` has read; see :meth:`load`.

        Args:
            content: As read.
            where: Name of the file, to begin errors with.
            trust: See :meth:`load`.
        """
        try:
            return cls._from_content(content, where, trust)
        except ValueError as error:  # it may quote a part of the file, of any length
            raise ValueError(one_line(error, 1000)) from error

    @classmethod
    def _from_content(cls, content: dict[str, Any], where: str, trust: bool) -> ModelFile:
        _check_keys(content, where)
        texts: dict[str, Any] = {key: _text(content, key, where) for key in _TEXTS}
        data = {key: _data(content, key, where) for key in _DATA if key != "schema"}
        for key in ("measured", "training", "calibration"):
            if key != "calibration" or data[key] is not None:
                check_plain(data[key], f"{where}: {key}")
        check_frozen(data["config"], where, trust)
        schema = _schema(content, where)
        state = {
            key: value.float() if value.dtype == torch.float16 else value
            for key, value in content["state_dict"].items()
        }
        half = any(value.dtype == torch.float16 for value in content["state_dict"].values())
        model = cls(state_dict=state, schema=schema, half=half, **texts, **data)
        model.check(where)
        return model

    def check(self, where: str) -> None:
        """Compare config, weights and schema.

        Args:
            where: What the model is, to begin errors with.

        Raises:
            ValueError: They do not belong together.
        """
        build_steps(self.config["pipeline"], where)
        detector = check_detector(self.config["model"], self.state_dict, where)
        dims = getattr(detector, "dims", None)
        if detector.head.num_landmarks != len(self.schema) or dims not in (None, self.schema.dims):
            here = f" in {dims}D" if dims else ""
            raise ValueError(
                f"{where}: its detector is for {detector.head.num_landmarks} landmarks{here}, its schema "
                f"{self.schema.name!r} has {len(self.schema)} in {self.schema.dims}D"
            )
        check_maps(detector, self.config["pipeline"], self.schema.dims, where)

    def save(self, path: str | Path) -> None:
        """Write the file; a crash leaves the previous one as it was.

        Args:
            path: The file, ``*.pth``.

        Raises:
            ValueError: It could not be loaded again, or a new image would not pass the pipeline.
            OSError: It cannot be written.
        """
        path = Path(path)
        if path.suffix != ".pth":
            raise ValueError(f"model file {path}: the name must end with .pth, as in {path.stem}.mml.pth")
        where = f"model file {path}"
        content: dict[str, Any] = dict(format=FORMAT, format_version=FORMAT_VERSION)
        content |= {key: getattr(self, key) for key in _TEXTS}
        data = {key: getattr(self, key) for key in _DATA} | dict(schema=dataclasses.asdict(self.schema))
        content |= {key: _json(value, f"{where}: {key}") for key, value in data.items()}
        content["state_dict"] = self._halves() if self.half else self.state_dict
        content["state_dict"] = {key: value.detach().cpu() for key, value in content["state_dict"].items()}
        # A class that is not registered needs trust when the file is loaded, not when it is written.
        self.from_content(dict(content), where, trust=True)._check_new_image(where)
        save_checkpoint(content, path)

    def halved(self) -> ModelFile:
        """Return the model with its weights rounded as half precision stores them."""
        rounded = {key: value.to(self.state_dict[key].dtype) for key, value in self._halves().items()}
        return dataclasses.replace(self, state_dict=rounded)

    def _halves(self) -> dict[str, Tensor]:
        """Return the weights, kernels in half precision where that can hold their values.

        What is no parameter, such as statistics, stays as it is.
        """
        where = f"model {self.name!r}"
        named = check_detector(self.config["model"], self.state_dict, where).named_parameters()
        kernels = {key for key, value in named if value.ndim > 1}
        return {
            key: in_half_precision(value) if key in kernels else value
            for key, value in self.state_dict.items()
        }

    def _check_new_image(self, where: str) -> None:
        """Raise ValueError if a record of nothing but an image does not pass the pipeline."""
        blank = np.zeros((64, 64) if self.schema.dims == 2 else (16, 16, 16), np.uint8)
        try:
            self.transforms()(self.made_record("blank", blank))
        except Exception as error:  # a step of any package
            raise ValueError(
                f"{where}: a new image cannot pass the pipeline of the test, a step of it fails without "
                f"annotation or random numbers: {type(error).__name__}: {one_line(error)}"
            ) from error

    def detector(self, device: str | torch.device = "cpu") -> BaseDetector:
        """Return the detector with its weights, in test mode; every call builds another one."""
        model, weights = dict(self.config["model"]), dict(state_dict=dict(self.state_dict))
        return detector_with_weights(model, weights, f"model {self.name!r}").to(device)

    def made_record(self, sample_id: str, image: np.ndarray) -> dict[str, Any]:
        """Return a record of an image that somebody made up, for :meth:`transforms`.

        Its pixels are as large as those to which the pipeline resamples, so that it keeps its size.
        """
        steps = [step for step in self.config["pipeline"] if step["type"] == "ResampleSpacing"]
        spacing = np.broadcast_to(steps[-1]["spacing"] if steps else 1.0, self.schema.dims)
        return dict(sample_id=sample_id, img=image, spacing=tuple(spacing.astype(float).tolist()))

    def transforms(self) -> Compose:
        """Return the way of an image to the network's input.

        It takes a record with ``sample_id`` and ``img_path`` or ``img``, see
        :class:`~mmlandmark.datasets.transforms.LoadImage`, and returns ``inputs`` (C, *S) and
        ``data_samples``. It needs no annotation and passes one on.
        """
        steps = build_steps(self.config["pipeline"], f"model {self.name!r}")
        return Compose([partial(_with_pairs, pairs=self.schema.flip_pairs), *steps])


def is_model_file(content: Mapping[str, Any]) -> bool:
    """Return whether the content of a checkpoint file is that of a model file."""
    return isinstance(content.get("format"), str)


def meta_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint or a model file says about training and landmarks; empty if it says nothing.

    Args:
        content: As loaded.

    Returns:
        ``seed``, ``epoch``, ``trained_on``, ``dataset_meta`` and others, as far as they are known.

    Raises:
        ValueError: It is a model file, and these parts of it are broken.
    """
    if not is_model_file(content):
        meta = content.get("meta")
        return dict(meta) if isinstance(meta, Mapping) else {}
    where = "the model file"
    _check_keys(content, where)
    training = _data(content, "training", where)
    check_plain(training, f"{where}: training")
    return training | dict(dataset_meta=metainfo_of(_schema(content, where)))


def _schema(content: Mapping[str, Any], where: str) -> LandmarkSchema:
    data = _data(content, "schema", where)
    check_plain(data, f"{where}: schema")
    try:
        return LandmarkSchema.from_dict(data, where)
    except (TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{where}: its schema is not valid: {one_line(error)}") from error


def _with_pairs(record: dict[str, Any], pairs: tuple) -> dict[str, Any]:
    return {"flip_pairs": pairs, **record}


def _check_keys(content: Mapping[str, Any], where: str) -> None:
    """Raise ValueError unless this is a model file of a version that is known here."""
    if not is_model_file(content) or content["format"] != FORMAT:
        raise ValueError(f"{where} is no model file: it does not say that its format is {FORMAT!r}")
    version = content.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"{where}: format_version must be a positive number, got {version!r:.60}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{where} has version {version} of the format, and mmlandmark {__version__} reads versions up to "
            f"{FORMAT_VERSION}: upgrade mmlandmark"
        )
    given = [key if isinstance(key, str) else repr(key)[:60] for key in content]
    missing, unknown = [k for k in _KEYS if k not in given], sorted(k for k in given if k not in _KEYS)
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing)
        parts += [f"has unknown keys {', '.join(unknown[:5])}{did_you_mean(unknown[:5], _KEYS)}"] * bool(
            unknown
        )
        raise ValueError(f"{where} {' and '.join(parts)}")


def _text(content: Mapping[str, Any], key: str, where: str) -> str:
    text = content[key]
    if not isinstance(text, str) or len(text) > _LONGEST[key]:
        raise ValueError(f"{where}: {key} must be a text of at most {_LONGEST[key]} letters")
    if not all(letter.isprintable() or (letter == "\n" and key == "licence") for letter in text):
        raise ValueError(f"{where}: {key} holds letters that cannot be printed")
    return text


def _data(content: Mapping[str, Any], key: str, where: str) -> Any:
    """Return what a JSON text of the file says."""
    text = content[key]
    if not isinstance(text, str) or len(text) > _LONGEST_DATA:
        raise ValueError(f"{where}: {key} must be JSON, a text of at most {_LONGEST_DATA} letters")
    return parse_json(text, f"{where}: {key}")


def _json(value: Any, where: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where} cannot be written as JSON: {error}") from error


def in_half_precision(value: Tensor) -> Tensor:
    """Return a kernel in half precision if that can hold its values."""
    half = value.half()
    close = torch.allclose(half.float(), value.float(), rtol=1e-3, atol=1e-6)
    return half if close else value
