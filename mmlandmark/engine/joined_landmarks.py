"""One detector of the models that a config with ``per_landmark`` trains, one for each landmark."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from mmlandmark.engine.checkpoint_files import best_checkpoint, latest_checkpoint
from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.per_landmark import chosen_landmarks, landmark_schema, of_landmarks
from mmlandmark.engine.plan import Node, Step
from mmlandmark.engine.processes import main_process_decides
from mmlandmark.engine.run_folder import write_config
from mmlandmark.engine.stages import stage_to_test
from mmlandmark.models.assembly import filled
from mmlandmark.models.detector_weights import check_detector
from mmlandmark.models.detectors import plain_config
from mmlandmark.models.detectors.landmarkwise_detector import OF_ALL
from mmlandmark.models.frozen_config import without_starts
from mmlandmark.models.model_file import meta_of
from mmlandmark.registry import MODELS
from mmlandmark.structures import metainfo_of, names_of
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.checkpoint_integrity import written_hash
from mmlandmark.utils.files import atomic_write_text, file_hash, read_state, write_state
from mmlandmark.utils.sentences import one_line

FOLDER, FILE, NOTE = "detector", "detector.pth", "members.json"
_ANEW = "remove it: the models are then joined again"
_FILES: dict[str, tuple[str, Callable[[Path], Path | None]]] = dict(
    last=(FILE, latest_checkpoint), best=(f"best_{FILE}", best_checkpoint)
)
_BACKBONE = "backbone."


class JoinStep(Step):
    """Make one detector of the models of all landmarks, in the folder ``detector`` of the group.

    Args:
        config: With ``per_landmark``.
    """

    name = "joined"

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, node: Node) -> None:
        """Raise ConfigError for models that will not come together; see :class:`Step`."""
        dims = landmark_schema(self.config).dims
        try:
            model = filled(MODELS, joined_config(self.config, node.folder).model, dims=dims)
            with torch.device("meta"):
                MODELS.build(model)
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.config.filename}: per_landmark: {one_line(error)}") from error

    def done(self, node: Node) -> bool:
        """Return whether the detector is made of the models that are there."""
        return _is_joined(
            Path(joined_config(self.config, node.folder).work_dir), FILE, _known(self.config, node)
        )

    def run(self, node: Node) -> Mapping[str, Any]:
        """Join the models."""
        main_process_decides(lambda: join_landmarks(self.config, node))
        return {}


def joined_config(config: Config, work_dir: str | Path) -> Config:
    """Return the config of a run whose model finds the landmarks of all models, to be tested or packed.

    Args:
        config: With ``per_landmark``.
        work_dir: Its work folder.
    """
    schema, chosen, folder = landmark_schema(config), chosen_landmarks(config), Path(work_dir) / FOLDER
    if config.per_landmark is not True:  # other machines may have trained the rest
        folder = folder.with_name(f"{FOLDER}_{_spans(list(chosen.values()))}")
    note = _note(folder)
    names = [name for name in chosen if name not in note.get("left_out", ())]
    whole = Config(copy.deepcopy(config._cfg_dict), filename=config.filename)
    whole.pop("per_landmark")
    if whole.get("stages"):
        whole = stage_to_test(whole, work_dir)
    member = without_starts(plain_config(of_landmarks(whole, names[:1], schema).model.to_dict()))
    shared = {key: member.pop(key) for key in OF_ALL if key in member}
    if len(names) < len(schema):
        whole = of_landmarks(whole, names, schema)
    whole.model = dict(
        type="LandmarkwiseDetector",
        detectors=[member] * len(names),
        shared_backbone=note["shared_backbone"] if note else _is_frozen(member, schema.dims),
        **shared,
    )
    # The weights are final, and so are the templates in them; a hook would serve their training.
    whole.pop("custom_hooks", None)
    whole.work_dir = str(folder)
    return whole


def join_landmarks(config: Config, node: Node, which: str = "last") -> Path:
    """Write the detector of the models of all landmarks, unless it is there and these have not changed.

    A backbone that is the same in all of them, as a frozen one is, is kept once.

    Args:
        config: With ``per_landmark``.
        node: Its plan, see :func:`~mmlandmark.engine.plan_of_run`.
        which: ``last`` or ``best`` checkpoint of every landmark's last stage.

    Returns:
        The checkpoint, in a folder with the config that it needs.

    Raises:
        FileNotFoundError: Models are missing; their landmarks are named.
        ValueError: A checkpoint is of another landmark or another model.
    """
    name, _ = _FILES[which]
    members = _checkpoints(config, node, which)
    folder = Path(joined_config(config, node.folder).work_dir)
    known = _known(config, node, which)
    if _is_joined(folder, name, known):
        return folder / name
    note = _note(folder)
    state, shared, metas = _weights(members)
    left_out = [landmark for landmark in chosen_landmarks(config) if landmark not in members]
    note |= dict(shared_backbone=shared, left_out=left_out)
    write_state(folder / NOTE, note)
    whole = joined_config(config, node.folder)
    check_detector(
        filled(MODELS, whole.model.to_dict(), dims=landmark_schema(config).dims), state, str(folder)
    )
    write_config(folder, config_to_data(whole))
    meta = _meta(config, dict(zip(members, metas, strict=True)))
    meta["members"] = [child.folder.name for child in node.children if child.wanted]
    save_checkpoint(dict(state_dict=state, meta=meta), folder / name)
    if which == "last":
        atomic_write_text(folder / "last_checkpoint", name)
    write_state(folder / NOTE, note | dict(files=(note.get("files") or {}) | {name: known}))
    return folder / name


def _found(config: Config, node: Node, which: str) -> dict[str, Path | None]:
    """Return the checkpoint of every landmark, None where there is none."""
    find, children = _FILES[which][1], zip(chosen_landmarks(config), node.children, strict=True)
    return {name: find(child.last_run.folder) for name, child in children if child.wanted}


def _known(config: Config, node: Node, which: str = "last") -> dict[str, Any]:
    """Return what identifies the checkpoints of all landmarks that are there; they are not read."""
    return {
        name: dict(
            file=path.relative_to(node.folder).as_posix(), sha256=written_hash(path) or file_hash(path)
        )
        for name, path in _found(config, node, which).items()
        if path is not None
    }


def _is_joined(folder: Path, name: str, known: Mapping[str, Any]) -> bool:
    """Whether a joined detector is there, and is made of these checkpoints."""
    return (_note(folder).get("files") or {}).get(name) == known and (folder / name).is_file()


def _checkpoints(config: Config, node: Node, which: str) -> dict[str, Path]:
    """Return the checkpoint of every landmark.

    Raises:
        FileNotFoundError: Some are missing.
    """
    chosen, found = chosen_landmarks(config), _found(config, node, which)
    missing = [name for name, path in found.items() if path is None]
    if missing:
        places = [chosen[name] for name in missing]
        rest = [chosen[name] for name in found if name not in missing]
        best = " (best ones: set save_best in the checkpoint hook)" if which == "best" else ""
        others = f"; --landmarks {_spans(rest, ',')} takes the others alone" if rest else ""
        raise FileNotFoundError(
            f"{node.folder} lacks the models of {len(missing)} of {len(found)} landmarks{best}: "
            f"{', '.join(map(repr, missing))}; mmlandmark train {config.filename} --landmarks "
            f"{_spans(places, ',')} trains them{others}"
        )
    return {name: path for name, path in found.items() if path is not None}


def _weights(members: Mapping[str, Path]) -> tuple[dict[str, Tensor], bool, list[dict[str, Any]]]:
    """Return the weights of the joined detector, whether there is one backbone for all, and all meta data."""
    state: dict[str, Tensor] = {}
    metas: list[dict[str, Any]] = []
    backbones: list[dict[str, Tensor]] = []
    for index, (landmark, path) in enumerate(members.items()):
        checkpoint = load_checkpoint(path)
        known = names_of(checkpoint_landmarks(checkpoint))
        if known is not None and list(known) != [landmark]:
            raise ValueError(f"checkpoint {path} finds {', '.join(known)}, expected {landmark!r} there")
        own = {key: value for key, value in checkpoint["state_dict"].items()}
        backbone = {key: own.pop(key) for key in list(own) if key.startswith(_BACKBONE)}
        same = bool(backbones) and _equal(backbone, backbones[0])
        backbones.append(backbones[0] if same else backbone)  # so that equal ones are in memory once
        state |= {f"members.{index}.{key}": value for key, value in own.items()}
        metas.append(meta_of(checkpoint))
    shared = len(backbones) > 1 and all(one is backbones[0] for one in backbones)
    for index, backbone in enumerate(backbones[:1] if shared else backbones):
        state |= {f"members.{index}.{key}": value for key, value in backbone.items()}
    return state, shared, metas


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def _meta(config: Config, metas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the meta data of the joined detector: what is the same of all landmarks, and the landmarks."""
    schema, (first, *others) = landmark_schema(config), metas.values()
    own = schema if len(metas) == len(schema) else schema.subset(list(metas))[0]
    keys = ("seed", "epoch", "iter", "inputs", "precision", "mmlandmark_version")
    same = {key: first.get(key) for key in keys if all(meta.get(key) == first.get(key) for meta in others)}
    if "epoch" not in same:
        done = ", ".join(f"{name} {meta.get('epoch')}" for name, meta in metas.items())
        print_log(
            f"landmarks are trained for different numbers of epochs: {done}", "current", logging.WARNING
        )
    return same | dict(dataset_meta=metainfo_of(own))


def _is_frozen(member: dict[str, Any], dims: int) -> bool:
    """Whether a member does not train its backbone, so that it will be the same in all of them."""
    with torch.device("meta"):
        backbone = getattr(MODELS.build(filled(MODELS, member, dims=dims)), "backbone", None)
    return backbone is not None and not any(weight.requires_grad for weight in backbone.parameters())


def _note(folder: Path) -> dict[str, Any]:
    if not (folder / NOTE).is_file():
        return {}
    note = read_state(folder / NOTE, _ANEW)
    if not {"shared_backbone", "left_out"} <= set(note) or not isinstance(note.get("files", {}), dict):
        raise ValueError(
            f"{folder / NOTE}: this is not the note of a joined detector: restore it from a copy, or {_ANEW}"
        )
    return note


def _spans(places: Sequence[int], between: str = "_") -> str:
    """Return places in short: 0, 1, 2 and 5 are ``0-2,5``."""
    spans: list[list[int]] = []
    for place in sorted(places):
        if spans and place == spans[-1][1] + 1:
            spans[-1][1] = place
        else:
            spans.append([place, place])
    return between.join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
