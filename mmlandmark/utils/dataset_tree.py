"""Datasets inside of datasets: the one place that knows how wrappers hold others.

A wrapper (``ConcatDataset``, ``RepeatDataset``, ``torch.utils.data.Subset``, or one of another package) holds
other datasets in ``datasets``, a list, or in ``dataset``, a single one: keys of its config, and attributes of
the built object. A dataset that holds no other is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def leaf_configs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the configs of the leaves inside a dataset's config, or the config itself if it is a leaf.

    They are the dicts inside ``config`` itself, not copies: changing one changes the config.

    Example:
        >>> leaf_configs(dict(type="RepeatDataset", times=2, dataset=dict(type="A")))
        [{'type': 'A'}]
    """
    inner = [*config.get("datasets", ()), *([config["dataset"]] if "dataset" in config else ())]
    return [leaf for part in inner for leaf in leaf_configs(part)] if inner else [config]  # type: ignore[list-item]


def change_leaves(
    config: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a dataset's config with ``change`` applied to every leaf; the given config stays as it is.

    Example:
        >>> twice = dict(type="RepeatDataset", dataset=dict(type="A"))
        >>> change_leaves(twice, lambda leaf: {**leaf, "fold": 1})
        {'type': 'RepeatDataset', 'dataset': {'type': 'A', 'fold': 1}}
    """
    if "datasets" in config:
        return dict(config, datasets=[change_leaves(part, change) for part in config["datasets"]])
    if "dataset" in config:
        return dict(config, dataset=change_leaves(config["dataset"], change))
    return dict(change(config))


def bare_dataset(config: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a dataset's config with another pipeline and without a cache, also inside of wrappers.

    Example:
        >>> bare_dataset(dict(type="A", pipeline=[dict(type="LoadImage")], image_cache=dict(mode="ram")))
        {'type': 'A', 'pipeline': []}
    """

    def bare(leaf: Mapping[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in leaf.items() if k != "image_cache"}, "pipeline": list(pipeline)}

    return change_leaves(config, bare)


def inner_datasets(dataset: Any) -> list[Any]:
    """Return the built datasets that a wrapper holds directly; empty for a leaf."""
    inner = list(getattr(dataset, "datasets", ()))
    single = getattr(dataset, "dataset", None)
    return inner if single is None else [*inner, single]


def leaf_datasets(dataset: Any) -> list[Any]:
    """Return the built leaves inside a dataset, or the dataset itself if it is a leaf."""
    inner = inner_datasets(dataset)
    return [leaf for part in inner for leaf in leaf_datasets(part)] if inner else [dataset]
