"""Sweeps: variants of one config under several seeds, as a plan.

A sweep is a Python file with ``config`` (a config file, relative to the sweep, or a shipped one:
``mmlandmark::<path>``), ``seeds`` and ``arms``: name of the variant -> values that differ, as
``--cfg-options`` takes them. Three keys of an arm are no such values: ``config`` is a config file of its own,
in place of that of the sweep; ``trained_as`` names the arm that is trained for this one too, if they differ
in the test only; ``inputs`` gives the arm's model the checkpoint of another arm, seed by seed, as
``{"<name>": "<arm>"}``, or those of several as a list; of the name ``load_from`` it starts from those
weights.
``ensembles``, name -> arm, tests the mean of an arm's seeds; ``{"arms": [...], "average": "median"}`` that of
several arms, as :func:`~mmlandmark.apis.build_ensemble` averages. ``baseline`` names the arm that tables test
all others against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.apis.running import prepare_config
from mmlandmark.apis.steps import EnsembleStep, RecordStep
from mmlandmark.engine import Node, plan_of_run
from mmlandmark.engine.config import ConfigError, read_config
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import safe_name
from mmlandmark.utils.shipped import shipped_file


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file describes it.

    Attributes:
        name: Of the file.
        configs: Arm -> path of its config.
        seeds: Of all arms.
        arms: Arm -> all its values, those of the arm it is trained as included.
        trained_as: Arm -> the arm whose training it shares, itself by default.
        inputs: Arm -> name of an input -> the arms that make it, mostly one.
        ensembles: Name -> arms, and what is averaged.
        path: The file.
    """

    name: str
    configs: dict[str, Path]
    seeds: list[int]
    arms: dict[str, dict[str, Any]]
    trained_as: dict[str, str]
    inputs: dict[str, dict[str, list[str]]]
    ensembles: dict[str, tuple[list[str], str]]
    path: Path

    def tested_with(self, arm: str) -> dict[str, Any]:
        """Return the values of an arm that differ from those that it is trained with."""
        own = self.arms[self.trained_as[arm]]
        return {key: value for key, value in self.arms[arm].items() if key not in own or own[key] != value}

    def config_of(self, arm: str, seed: int | None = None, work_dir: Path | None = None) -> Config:
        """Return the config of an arm, with references to the arms that make its inputs.

        Args:
            arm: Its name.
            seed: None for a test, which needs none.
            work_dir: Its folder.

        Raises:
            ConfigError: The config has no place for a value of the arm.
        """
        inputs: dict[str, Any] = {}
        for name, makers in self.inputs.get(self.trained_as[arm], {}).items():
            last = [f"run:{maker}_seed{seed}:last" for maker in makers]
            inputs[name] = last if len(last) > 1 else last[0]
        # No input of a model. A stage that starts from another one has a value of its own.
        start = {key: inputs.pop(key) for key in ("load_from",) if key in inputs}
        folder = None if work_dir is None else str(work_dir)
        options = self.arms[arm] | start
        try:
            return prepare_config(
                self.configs[arm], options=options, inputs=inputs, seed=seed, work_dir=folder
            )
        except ConfigError as error:
            raise ConfigError(f"{self.path}, arm {arm!r}: {error}") from error


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep.

    Raises:
        FileNotFoundError: The sweep or a config does not exist.
        ValueError: The sweep lacks a key, an arm is no dict, is trained as one that has no training or gets
            an input from one that does not come before it, or an ensemble is of no arm.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"sweep {path} does not exist")
    content = read_config(path).to_dict()
    _check_keys(path, content)
    arms, baseline = content["arms"], content.get("baseline")
    ensembles = {name: _members(path, name, of) for name, of in content.get("ensembles", {}).items()}
    if baseline is not None and baseline not in arms:
        raise ValueError(f"{path}: the baseline {baseline!r} is no arm; arms are {sorted(arms)}")
    for name in (*arms, *ensembles):
        if safe_name(name) != name:
            raise ValueError(
                f"{path}: {name!r} names files, so it must be a plain name, as {safe_name(name)!r}"
            )
    for arm, options in arms.items():
        if not isinstance(options, dict):
            raise ValueError(f"{path}: arm {arm!r} must be a dict of config values, got {options!r}")
    trained_as = {arm: options.pop("trained_as", arm) for arm, options in arms.items()}
    inputs = {
        arm: _makers(path, arm, options.pop("inputs")) for arm, options in arms.items() if "inputs" in options
    }
    own = {arm: options.pop("config") for arm, options in arms.items() if "config" in options}
    _check_arms(path, trained_as, inputs)
    configs = _configs(path, content["config"], own, trained_as)
    unknown = sorted({arm for members, _ in ensembles.values() for arm in members} - set(arms))
    if unknown:
        raise ValueError(f"{path}: ensembles of {unknown}, which are no arms")
    merged = {arm: arms[trained_as[arm]] | options for arm, options in arms.items()}
    return Sweep(path.stem, configs, list(content["seeds"]), merged, trained_as, inputs, ensembles, path)


def _members(path: Path, name: str, of: Any) -> tuple[list[str], str]:
    """Return the arms of an ensemble, and what is averaged."""
    given: Any = dict(arms=[of]) if isinstance(of, str) else of
    arms: Any = given.get("arms") if isinstance(given, dict) else None
    if not _are_names(arms) or set(given) - {"arms", "average"}:
        raise ValueError(
            f"{path}: ensemble {name!r} must be the name of an arm, or a dict of 'arms' and 'average', got "
            f"{of!r:.80}"
        )
    return list(arms), given.get("average", "points")


def _check_keys(path: Path, content: dict[str, Any]) -> None:
    """Raise ValueError unless the keys of a sweep are there and of their types."""
    kinds = dict(config=str, seeds=list | tuple, arms=dict)
    missing = [key for key in kinds if key not in content]
    if missing:
        raise ValueError(f"{path}: a sweep has config, seeds and arms; this one lacks {', '.join(missing)}")
    for key, kind in (kinds | dict(ensembles=dict)).items():
        if key in content and not isinstance(content[key], kind):
            raise ValueError(f"{path}: {key} of a sweep cannot be {content[key]!r:.80}")


def _configs(path: Path, shared: str, own: dict[str, str], trained_as: dict[str, str]) -> dict[str, Path]:
    """Return the config of every arm; an arm that is trained as another one has that one's."""
    for arm in own:
        if trained_as[arm] != arm:
            raise ValueError(
                f"{path}: arm {arm!r} is trained as {trained_as[arm]!r}, so it has no config of its own"
            )
    of_all = _config_file(path, shared)
    return {arm: _config_file(path, own[name]) if name in own else of_all for arm, name in trained_as.items()}


def _config_file(path: Path, name: str) -> Path:
    """Return the config that a sweep names.

    It keeps its suffix, which decides whether it is run: a link ``a.json`` may lead to a Python file.
    """
    if not isinstance(name, str):
        raise ValueError(f"{path}: config of an arm must be the name of a file, got {name!r:.80}")
    try:
        file = shipped_file(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: its config {error}") from None
    if file is None:
        file = (path.parent / name).parent.resolve() / Path(name).name
    if not file.is_file():
        raise FileNotFoundError(f"{path}: its config {file} does not exist")
    return file


def _makers(path: Path, arm: str, made: Any) -> dict[str, list[str]]:
    """Return the arms that make the inputs of an arm."""
    items = made.items() if isinstance(made, dict) else ()
    makers = {name: [arms] if isinstance(arms, str) else arms for name, arms in items}
    if not isinstance(made, dict) or not all(map(_are_names, makers.values())):
        raise ValueError(
            f"{path}: inputs of arm {arm!r} must be a dict of names of arms, or of lists of them, got "
            f"{made!r:.80}"
        )
    return {name: list(arms) for name, arms in makers.items()}


def _are_names(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(name, str) for name in given)


def _check_arms(path: Path, trained_as: dict[str, str], inputs: dict[str, dict[str, list[str]]]) -> None:
    """Raise ValueError for arms that build on something else than an arm with a training of its own."""
    order = list(trained_as)
    for arm, name in trained_as.items():
        if not isinstance(name, str):
            raise ValueError(f"{path}: trained_as of arm {arm!r} must name an arm, got {name!r:.80}")
    for arm, made in inputs.items():
        for name, maker in ((name, maker) for name, makers in made.items() for maker in makers):
            if trained_as.get(maker) != maker or order.index(maker) >= order.index(arm):
                raise ValueError(
                    f"{path}: input {name!r} of arm {arm!r} comes from {maker!r}, which is no trained arm "
                    "before it"
                )
    for arm, name in trained_as.items():
        if trained_as.get(name) != name:
            raise ValueError(
                f"{path}: arm {arm!r} is trained as {name!r}, which is no arm with a training of its own"
            )


def plan_of_sweep(
    sweep: Sweep,
    work_dir: str | Path,
    results: str | Path,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Node:
    """Return the plan that trains, tests and records all arms under all seeds.

    Every trained arm and seed has a folder ``<work_dir>/<arm>_seed<seed>``. What is on record is not run
    again; a record of another config than the arm has now is an error as soon as somebody asks for its state.

    Args:
        sweep: See :func:`load_sweep`.
        work_dir: Folder above the runs' folders.
        results: Folder of the records.
        arms: Record these only; arms that make their inputs are trained, too.
        seeds: Run these only.

    Raises:
        ValueError: The sweep has no such arm.
    """
    work_dir, results = Path(work_dir), Path(results)
    unknown = sorted(set(arms or ()) - set(sweep.arms))
    if unknown:
        raise ValueError(f"sweep {sweep.name} has no arms {unknown}; it has {sorted(sweep.arms)}")
    chosen = {(arm, seed) for arm in arms or sweep.arms for seed in seeds or sweep.seeds}
    # Seeds are no part of a hash, and reading a config takes time.
    recipe = cache(lambda arm: config_hash(sweep.config_of(arm)))
    # Seed by seed, so that all arms have as many runs as each other wherever the sweep is stopped.
    nodes = {
        f"{arm}_seed{seed}": _arm(sweep, arm, seed, chosen, work_dir, results, recipe)
        for seed in dict.fromkeys([*(seeds or ()), *sweep.seeds])
        for arm in dict.fromkeys(sweep.trained_as.values())
    }
    ensembles = [_ensemble(sweep, name, nodes, chosen, work_dir, results, recipe) for name in sweep.ensembles]
    return Node(sweep.name, work_dir, children=[*nodes.values(), *ensembles])


def _arm(
    sweep: Sweep,
    trained: str,
    seed: int,
    chosen: set[tuple[str, int]],
    work_dir: Path,
    results: Path,
    recipe: Callable[[str], str],
) -> Node:
    """Return the node that trains an arm, and records all chosen arms that are trained as this one."""
    folder = work_dir / f"{trained}_seed{seed}"
    names = {
        arm: f"{arm}_seed{seed}"
        for arm, own in sweep.trained_as.items()
        if own == trained and (arm, seed) in chosen
    }
    records = [
        RecordStep(name, partial(sweep.config_of, arm, seed), results / f"{name}.json", partial(recipe, arm))
        for arm, name in names.items()
    ]
    config = sweep.config_of(trained, seed, folder)
    return plan_of_run(config, folder, steps=records, wanted=bool(records))


def _ensemble(
    sweep: Sweep,
    name: str,
    nodes: dict[str, Node],
    chosen: set[tuple[str, int]],
    work_dir: Path,
    results: Path,
    recipe: Callable[[str], str],
) -> Node:
    """Return the node of an ensemble; it waits until its arms have a record or a turn for every seed."""
    arms, average = sweep.ensembles[name]
    options, *others = (sweep.tested_with(arm) for arm in arms)
    if any(other != options for other in others):
        raise ValueError(
            f"sweep {sweep.name}: the arms of ensemble {name!r} are tested with different values"
        )
    runs = [(arm, seed) for arm in arms for seed in sweep.seeds]
    missing = [
        f"{arm} seed {seed}"
        for arm, seed in runs
        if (arm, seed) not in chosen and not (results / f"{arm}_seed{seed}.json").is_file()
    ]

    def made_of() -> dict[str, Any]:
        return dict(arms={arm: recipe(arm) for arm in arms}, seeds=list(sweep.seeds), average=average)

    return Node(
        name,
        work_dir / name,
        steps=[EnsembleStep(name, options, results / f"{name}.json", average, made_of)],
        needs=[nodes[f"{sweep.trained_as[arm]}_seed{seed}"] for arm, seed in runs],
        wanted=not missing,
        remark=f"when there are {', '.join(missing)}",
    )
