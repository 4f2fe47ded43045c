"""Which detector made predictions: kept beside them, so that nobody takes them for those of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmlandmark.evaluation.record import sample_hash, split_hash
from mmlandmark.evaluation.tested_cases import TestedCases
from mmlandmark.utils.files import read_json

ORIGIN_KEY = "origin"
"""Of a ``predictions.json``: :meth:`Origin.to_dict`."""


@dataclass(frozen=True)
class Origin:
    """What decided on predictions, as hashes.

    Attributes:
        weights: Of the weights, the same for those that a model file keeps in half precision.
        answers: Of what leads from weights and image to an answer: model with flip and views, pipeline,
            precision.
        recipe: Of the config of the training, the same for all folds and seeds; empty if it is unknown.
        options: What ``answers`` holds of the test: ``flip``, ``views`` and others, to name a difference.
        trained_on: ``hash`` of the training set and ``samples``, a hash of each image's id and annotation;
            None if it is unknown.
    """

    weights: str
    answers: str
    recipe: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    trained_on: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Origin:
        """Return an origin from :meth:`to_dict`.

        Args:
            data: Plain values.
            where: What they are part of, for errors.

        Raises:
            ValueError: A key is missing, unknown, or of another kind.
        """
        kinds = dict(weights=str, answers=str, recipe=str, options=dict, trained_on=dict | None)
        if not isinstance(data, Mapping) or set(data) != set(kinds):
            raise ValueError(f"{where}: {ORIGIN_KEY} must have the keys {', '.join(kinds)}")
        wrong = [key for key, kind in kinds.items() if not isinstance(data[key], kind)]
        if wrong:
            raise ValueError(f"{where}: {ORIGIN_KEY}: {wrong[0]} has a wrong value, {data[wrong[0]]!r:.60}")
        return cls(**data)

    @classmethod
    def read(cls, path: str | Path) -> Origin | None:
        """Return the origin of a ``predictions.json``; None if it does not say it.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds something else; the message names it.
        """
        content = read_json(path)
        said = content.get(ORIGIN_KEY) if isinstance(content, Mapping) else None
        return None if said is None else cls.from_dict(said, str(path))

    def differing_options(self, other: Origin) -> list[str]:
        """Return the names of the options that another origin has otherwise."""
        keys = sorted({*self.options, *other.options})
        return [key for key in keys if self.options.get(key) != other.options.get(key)]

    def seen(self, cases: TestedCases) -> list[str]:
        """Return the ids of the images that these weights were trained on.

        An image is recognised by its id and annotation, so the same image under another name is not.
        """
        known = self.trained_on or {}
        if known.get("hash") == split_hash(cases.sample_ids, cases.truth):
            return list(cases.sample_ids)
        trained, hashes = set(known.get("samples") or ()), sample_hashes(cases)
        return [name for name, digest in zip(cases.sample_ids, hashes, strict=True) if digest in trained]


def sample_hashes(cases: TestedCases) -> list[str]:
    """Return a hash of every image's id and annotation, as checkpoints keep them of their training set."""
    return [sample_hash(i, t) for i, t in zip(cases.sample_ids, cases.truth, strict=True)]
