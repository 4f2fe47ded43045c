"""How many dimensions the data of a run has: its model is told, so that no config repeats it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmlandmark.models.assembly import takes
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs, leaf_datasets


def with_data_dims(model: Mapping[str, Any], loaders: Iterable[Any]) -> dict[str, Any]:
    """Return a model's config with the ``dims`` of the data, unless it names them or takes none.

    Args:
        model: Config of a detector.
        loaders: Data loaders of the run, as configs or built, None for those that it has not. The first
            dataset that knows its dimensions decides; no image is decoded.

    Raises:
        FileNotFoundError: An annotation file that has to be read does not exist.
        ValueError: It is broken, or does not say how many coordinates a point has.
    """
    kind = model.get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if "dims" in model or not takes(kind, "dims"):
        return dict(model)
    dims = next(_dims_of(loaders), None)
    return dict(model) if dims is None else dict(model, dims=dims)


def _dims_of(loaders: Iterable[Any]) -> Iterator[int]:
    """Yield the dimensions of every dataset that knows them."""
    for loader in loaders:
        source = loader.get("dataset") if isinstance(loader, Mapping) else getattr(loader, "dataset", None)
        if isinstance(source, Mapping):
            yield from (dims for leaf in leaf_configs(source) if (dims := _dims_of_config(leaf)))
        else:
            yield from (dims for leaf in leaf_datasets(source) if (dims := getattr(leaf, "dims", None)))


def _dims_of_config(leaf: Mapping[str, Any]) -> int | None:
    """Return the dimensions of a dataset that is not built yet; only a class that knows them is built."""
    kind = leaf.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not hasattr(kind, "dims"):
        return None
    return DATASETS.build(dict(bare_dataset(leaf), lazy_init=True)).dims
