"""What decides a run besides its config: files it starts or learns from, identified by their content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine.config import value_at
from mmlandmark.engine.given_inputs import slots_of
from mmlandmark.evaluation import sample_hash, split_hash
from mmlandmark.utils.checkpoint import fetch_checkpoint
from mmlandmark.utils.dataset_tree import leaf_datasets
from mmlandmark.utils.files import file_hash

_DIGITS = 16


def inputs_of(config: Config) -> dict[str, dict[str, str]]:
    """Return the weights that a run starts or learns from, by the key of its config that names them.

    These are ``load_from``, every ``checkpoint`` inside of the model, of its inputs and of ``init_cfg``, and
    the inputs of hooks that hold weights.

    Returns:
        Key -> ``source``, the name of the file or the address, and ``sha256``, the beginning of the hash of
        its content; of an address of a scheme that is not http(s), only the source.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: An address cannot be fetched.
    """
    named = dict(_checkpoints(config.get("model") or {}, "model"))
    if config.get("load_from"):
        named["load_from"] = config.load_from
    for slot in slots_of(config).values():
        path = (*slot.owner, *slot.keys.file.split("."))
        if not slot.keys.weights or (source := value_at(config, path)) is None:
            continue
        key = ".".join(map(str, path))
        several = isinstance(source, list | tuple)
        named |= {f"{key}.{n}": str(one) for n, one in enumerate(source)} if several else {key: str(source)}
    return {key: _described(str(source)) for key, source in named.items()}


def trained_on(dataset: Any) -> dict[str, Any] | None:
    """Return the number of cases of a training set, a hash of all and their annotation, and one of each.

    None for data that is not made of :class:`~mmlandmark.datasets.LandmarkDataset`.
    """
    parts = leaf_datasets(dataset)
    if not all(isinstance(part, LandmarkDataset) for part in parts):
        return None
    records = [part.get_data_info(index) for part in parts for index in range(len(part))]
    digest = split_hash([r["sample_id"] for r in records], [r["landmarks"] for r in records])
    samples = sorted({sample_hash(r["sample_id"], r["landmarks"]) for r in records})
    return dict(images=len(records), hash=digest, samples=samples)


def _checkpoints(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every ``checkpoint`` anywhere inside of a config."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "checkpoint" and isinstance(value, str | Path):
                yield f"{where}.{key}", str(value)
            else:
                yield from _checkpoints(value, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _checkpoints(value, f"{where}.{index}")


def _described(source: str) -> dict[str, str]:
    scheme, marker, _ = source.partition("://")
    if marker and scheme not in ("http", "https"):
        return dict(source=source)  # Weights of a package, which has its own versions.
    name = source if marker else Path(source).name
    return dict(source=name, sha256=file_hash(fetch_checkpoint(source))[:_DIGITS])
