"""What can be wrong with a run before its first batch, above all with a late one of a plan.

A detector whose class says ``not_trainable`` is refused where it would learn. A model or a hook that knows
what can be wrong with its runs offers a method; nobody else needs to know the method it belongs to:

``Model.check_run(run: RunContext) -> None``
    is called on the model as it is built from the config, before data or weights are loaded.
``Hook.check_run(run: RunContext, model) -> None``
    is called after the model's own check, on a hook built for this purpose.

``Hook.watched_metrics(config) -> Sequence[str]``
    is asked, before anything is built, for the metrics by which a hook of that config goes. A misspelt one is
    refused here, where it is known what the metrics report; see :mod:`mmlandmark.engine.watched_metrics`.

``Hook.left_out(config) -> Mapping[str, str]``
    is asked before a model per landmark is trained: landmarks that could not be learnt, and why.

The checks raise ``ValueError`` (or ``FileNotFoundError``) with what is wrong and what to do; the run is named
for them. A hook lists in ``provides`` the names of the inputs that it hands to the model, see
:class:`~mmlandmark.utils.run_inputs.RunInput`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.config import ConfigError, check_arguments, input_size
from mmlandmark.engine.data_dims import with_data_dims
from mmlandmark.engine.given_inputs import class_of
from mmlandmark.engine.plan import Node, check_references, is_reference
from mmlandmark.engine.watched_metrics import check_watched_metrics
from mmlandmark.models.assembly import filled
from mmlandmark.registry import HOOKS, MODELS
from mmlandmark.utils.config_hash import config_hash


@dataclass(frozen=True)
class RunContext:
    """What a check may ask about a run.

    Attributes:
        config: Of the run.
        where: What the run is, to begin an error with.
        makers: Reference -> config of the run that makes what it stands for; it may not have run yet.
    """

    config: Config
    where: str
    makers: Mapping[str, Config] = field(default_factory=dict)

    def provides(self, name: str) -> bool:
        """Return whether a hook of the run hands an input of that name to the model."""
        return any(name in getattr(kind, "provides", ()) for kind, _ in _hooks(self.config))

    def has_hook(self, kind: type) -> bool:
        """Return whether the run has a hook of a class."""
        return any(isinstance(own, type) and issubclass(own, kind) for own, _ in _hooks(self.config))

    def maker(self, source: Any) -> Config | None:
        """Return the config of the run that makes an input, None if it is a file.

        Raises:
            ConfigError: It is a reference to a run that is not known here.
        """
        if not is_reference(source):
            return None
        if source not in self.makers:
            raise ConfigError(f"{source!r} stands for a run that is not part of this plan: name a file")
        return self.makers[source]

    def build(self, config: Config) -> Any:
        """Build the model of this or another run, for images of as many dimensions as its pipeline makes.

        No data is read here; that they have as many dimensions is checked when they are.

        Raises:
            ConfigError: The config does not describe a model.
        """
        return _built(config, self.where)


def check_plan(plan: Node) -> None:
    """Check all runs of a plan that have something left to do, before the first one starts.

    Raises:
        ConfigError: A reference means no run; a run needs the best checkpoint of one that keeps none; or see
            :func:`check_run`.
        FileNotFoundError: See there.
    """
    check_references(plan)
    for node in plan.walk():
        for step in node.steps if node.wanted else ():
            step.check(node)
    seen = set()
    for run in _open_runs(plan):
        config, where = run.config, f"run {run.path!r}"
        assert config is not None
        makers = {text: node.config for text, (node, _) in run.references.items() if node.config is not None}
        for text, (node, which) in run.references.items():
            hooks = makers[text].get("default_hooks") or {}
            if which == "best" and not (hooks.get("checkpoint") or {}).get("save_best"):
                raise ConfigError(
                    f"{where} needs the best checkpoint of {node.path!r}, which keeps none: set save_best in "
                    "its checkpoint hook"
                )
        check_arguments(config, where)
        # Folds and seeds of one config are checked once.
        key = (_hash_but_data(config), *(_hash_but_data(maker) for maker in makers.values()))
        if key not in seen:
            check_run(config, where, makers)
        seen.add(key)


def check_run(
    config: Config, where: str, makers: Mapping[str, Config] | None = None, always_build: bool = True
) -> None:
    """Build a run's model and hooks, and let them check the run.

    Args:
        config: Of one run.
        where: What it is, to begin an error with.
        makers: See :class:`RunContext`.
        always_build: Build the model even if nobody has anything to check.

    Raises:
        ConfigError: The model or a hook cannot be built, no metric reports what a hook goes by, or a check
            failed.
        FileNotFoundError: An input does not exist.
    """
    try:
        check_watched_metrics(config, _hooks(config))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error.args[0]}") from error
    hooks = [(kind, hook) for kind, hook in _hooks(config) if hasattr(kind, "check_run")]
    kind = class_of(MODELS, (config.get("model") or {}).get("type"))
    if not (always_build or hooks or hasattr(kind, "check_run") or getattr(kind, "not_trainable", False)):
        return
    run = RunContext(config, where, makers or {})
    model = run.build(config)
    try:
        _check_trainable(model)
        if hasattr(model, "check_run"):
            model.check_run(run)
        for _, hook in _hooks(config):
            built = _built_hook(hook)  # those without a check of the run check their own arguments
            if hasattr(built, "check_run"):
                built.check_run(run, model)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_trainable(model: Any) -> None:
    """Raise ValueError if a part that is to learn cannot be trained; a frozen one need not."""
    for name, part in model.named_modules():
        why = getattr(part, "not_trainable", "")
        if why and any(weight.requires_grad for weight in part.parameters()):
            raise ValueError(f"model.{name}: {why}" if name else why)


def _open_runs(plan: Node) -> list[Node]:
    """Return the trainings that have something left to do, and those that they need."""
    wanted: dict[Node, None] = {}

    def collect(node: Node, needed: bool = False) -> None:
        if not needed and (not node.wanted or node.finished()):
            return
        if needed and (node in wanted or node.trained() is not None):
            return
        for other in node.inputs:
            collect(other, needed=True)
        if node.config is not None:
            wanted[node] = None
        for child in node.children:
            collect(child)

    collect(plan)
    return list(wanted)


def _hooks(config: Config) -> list[tuple[Any, Any]]:
    """Return class and config of the custom hooks, and of those with a name of their own."""
    named = (config.get("default_hooks") or {}).values()
    hooks = [
        *(config.get("custom_hooks") or ()),
        *(hook for hook in named if isinstance(hook, dict) and "type" in hook),
    ]
    return [
        (class_of(HOOKS, hook.get("type") if isinstance(hook, dict) else type(hook)), hook) for hook in hooks
    ]


def _built_hook(hook: Any) -> Any:
    """Return a hook from its config; it may be one already."""
    if not isinstance(hook, dict):
        return hook
    try:
        return HOOKS.build(hook)
    except (TypeError, KeyError, AssertionError) as error:  # as MMEngine's own hooks refuse arguments
        why = error.args[0] if error.args else repr(error)
        raise ValueError(f"{hook.get('type')}: {why}") from error


def _hash_but_data(config: Config) -> tuple[str, str, Any]:
    """Return what tells runs apart that differ in more than seed and data."""
    loaders = {f"{part}_dataloader" for part in ("train", "val", "test")}
    rest = {key: value for key, value in config._cfg_dict.items() if key not in loaders | {"randomness"}}
    hooks = str(rest.get("default_hooks"))  # those that every run has are no part of an experiment's hash
    return config_hash(rest, with_start=True), hooks, input_size(config)


def _built(config: Config, where: str) -> Any:
    size = input_size(config)
    try:
        if size is None:  # volumes of one spacing have sizes of their own
            parts = [config.get(f"{part}_dataloader") for part in ("train", "val", "test")]
            return MODELS.build(with_data_dims(config.model, filter(None, parts)))
        return MODELS.build(filled(MODELS, config.model, dims=len(size)))
    except (TypeError, ValueError, KeyError) as error:
        replaced = "; a section of another type than that which it is merged over begins with _delete_=True"
        hint = replaced if "unexpected keyword argument" in str(error) else ""
        raise ConfigError(f"{where}: {error.args[0]}{hint}") from error
