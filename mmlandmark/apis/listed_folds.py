"""Folds of data whose parts are lists of ids, such as those of ``mmlandmark plan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmlandmark.datasets.folds import deal_folds
from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.engine import ConfigError
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs

_SOURCE = ("type", "data_root", "ann_file", "image_dir")


def listed_folds(
    runs: Sequence[Config], deal: Mapping[str, Any] | None, where: str
) -> dict[str, tuple[list[str], list[str]]] | None:
    """Return the ids that every fold trains on, and those that it tests; None if the data has no lists.

    The folds divide the images of the training and the validation; ``fold_split=None`` divides those of the
    test, too.

    Args:
        runs: Configs that are trained one after the other; the last one is tested.
        deal: How folds are dealt out, see :func:`~mmlandmark.apis.fold_configs`.
        where: Name of the config, for errors.

    Raises:
        ConfigError: Folds are not dealt out; the tested data has no list; or lists are of several data sets.
        ValueError: There are fewer groups than folds, or an id is unknown.
    """
    names = ["train_dataloader", "val_dataloader"]
    names += ["test_dataloader"] if deal and deal.get("fold_split", "train") is None else []
    tested = _listed(runs[-1], "test_dataloader")
    listed = [leaf for run in runs for name in names for leaf in _listed(run, name)]
    if not tested and not listed:
        return None
    if not deal:
        raise ConfigError(
            f"{where}: its data are lists of ids, of which the folds of the data know nothing: --num-folds K "
            "deals out folds of these images"
        )
    if not tested or len({str([leaf.get(key) for key in _SOURCE]) for leaf in (*listed, *tested)}) > 1:
        raise ConfigError(
            f"{where}: lists of ids (ids=...) are dealt out into folds only if training, validation and test "
            "have one each, of one data set: write one annotation with a fold or a split for every image"
        )
    pool = {one for leaf in listed for one in read_ids(leaf["ids"], leaf.get("data_root") or "")[0]}
    more = {key: deal[key] for key in ("group_pattern",) if key in deal}
    whole = bare_dataset(dict(tested[0], ids=sorted(pool), lazy_init=True, **more))
    records = DATASETS.build(whole).load_data_list()
    deal_folds(records, deal["num_folds"], deal.get("fold_seed", 0))
    folds = {str(record["sample_id"]): str(record["fold"]) for record in records}
    return {
        name: (
            sorted(one for one, fold in folds.items() if fold != name),
            sorted(one for one, fold in folds.items() if fold == name),
        )
        for name in map(str, range(deal["num_folds"]))
    }


def give_lists(loaders: Mapping[str, Any], train: Sequence[str], test: Sequence[str]) -> None:
    """Replace the lists of ids in a config, or in one of its stages, by those of a fold.

    Args:
        loaders: Changed in place.
        train: Ids that are trained on.
        test: Ids that are validated and tested on.
    """
    for name, ids in (("train_dataloader", train), ("val_dataloader", test), ("test_dataloader", test)):
        for leaf in _listed(loaders, name):
            leaf["ids"] = list(ids)


def _listed(config: Mapping[str, Any], loader: str) -> list[dict[str, Any]]:
    """Return the configs of the data sets inside a loader that name ids."""
    dataset = (config.get(loader) or {}).get("dataset") or {}
    return [leaf for leaf in leaf_configs(dataset) if leaf.get("ids") is not None]
