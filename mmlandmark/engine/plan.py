"""A plan: a tree of runs with references between them, and the state of each.

A leaf is one training. A group holds runs that belong together: the stages of a method, the folds of a
cross-validation, the arms of a sweep, in any nesting. What follows a training or a whole group (a test, a
record, a pooled report) are steps of that node. :func:`~mmlandmark.engine.execute_plan` runs a plan.

A string ``run:<name>:last`` or ``run:<name>:best`` anywhere in a run's config stands for a checkpoint of
another run that comes before it. The name is looked for in the nearest enclosing group first, then outwards;
``run:<group>/<name>:last`` reaches into a group, and the name of a group stands for its last run.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine.checkpoint_files import latest_checkpoint
from mmlandmark.engine.config import KNOWN_KEYS, ConfigError
from mmlandmark.engine.run_folder import RunFolder, TrainedRun
from mmlandmark.engine.run_lock import RunLock
from mmlandmark.utils.config_hash import config_hash

PREFIX = "run:"


class Step(ABC):
    """Something that follows the training of a run, or all runs of a group.

    Attributes:
        name: Its name, unique among the steps of a node.
        always: Run it whenever the plan is run, even if it has been run before: for cheap reports.
    """

    name: str
    always = False

    def check(self, node: Node) -> None:  # noqa: B027  most have nothing to check
        """Raise ConfigError for what would stop the step; asked before the first run of a plan begins."""

    def done(self, node: Node) -> bool:
        """Return whether the step need not be run again; by default the note of the folder knows."""
        return node.run_folder.step_metrics(self.name) is not None

    @abstractmethod
    def run(self, node: Node) -> Mapping[str, Any]:
        """Run the step in every process, and return what it measured."""


@dataclass(eq=False)
class Node:
    """A run or a group of runs.

    Attributes:
        name: Unique in its group.
        folder: Its work folder.
        config: The whole config of a training, its references not yet resolved; None for a group.
        children: The runs of a group.
        steps: What follows.
        needs: Further runs of which the steps need the checkpoints.
        wanted: False for a run that is trained only if another one needs it.
        remark: Shown in the list of states for a node that is not wanted.
        left_out: Names of runs that the group skips, for messages.
        one_model: False for a group whose runs make a model each, so that it stands for none of them.
        parent: The enclosing group.
    """

    name: str
    folder: Path
    config: Config | None = None
    children: Sequence[Node] = ()
    steps: Sequence[Step] = ()
    needs: Sequence[Node] = ()
    wanted: bool = True
    remark: str = "only if another run needs it"
    left_out: frozenset[str] = frozenset()
    one_model: bool = True
    parent: Node | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for child in self.children:
            child.parent = self

    @property
    def path(self) -> str:
        """Names from below the root to here, joined by ``/``; the root's is its own name."""
        if self.parent is None:
            return self.name
        return self.name if self.parent.parent is None else f"{self.parent.path}/{self.name}"

    @property
    def run_folder(self) -> RunFolder:
        """Its folder, with the note."""
        return RunFolder(self.folder, self.fingerprint, self.path)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the config and of all runs that it builds on."""
        parts = [] if self.config is None else [config_hash(self.config, with_start=True)]
        parts += [node.fingerprint for node in (*self.children, *self.inputs)]
        return parts[0] if len(parts) == 1 else hashlib.sha256(":".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def references(self) -> dict[str, tuple[Node, str]]:
        """Every reference in the config -> the run it means, and ``last`` or ``best``.

        Raises:
            ConfigError: There is no such run before this one.
        """
        texts = [] if self.config is None else references_in(run_values(self.config))
        return {text: self._resolve(text) for text in texts}

    @property
    def inputs(self) -> list[Node]:
        """The runs of which this node needs the checkpoints."""
        referred = [node for node, _ in self.references.values()]
        return list(dict.fromkeys([*referred, *(node.last_run for node in self.needs)]))

    @property
    def last_run(self) -> Node:
        """The run that provides this node's checkpoint: itself, or the last one of a group.

        Raises:
            ConfigError: A group makes several models.
        """
        if not self.one_model:
            raise ConfigError(
                f"run {self.path!r} makes a model per landmark, so it stands for none: name one, as in "
                f"run:{self.name}/{self.children[0].name}:last"
            )
        return self.children[-1].last_run if self.children else self

    def walk(self) -> Iterator[Node]:
        """Yield this node and all nodes below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def runs(self) -> list[Node]:
        """Return the trainings in this node, in order."""
        return [node for node in self.walk() if node.config is not None]

    def trained(self) -> TrainedRun | None:
        """Return what the (last) training left behind, None if it has not finished.

        Raises:
            ConfigError: The folder holds another run.
        """
        return self.last_run.run_folder.trained()

    def finished(self) -> bool:
        """Return whether nothing is left to do here.

        Raises:
            ConfigError: The folder holds another run.
        """
        steps = [step for step in self.steps if not step.always]
        if steps:
            return all(step.done(self) for step in steps)
        if self.children:
            return all([child.finished() for child in self.children if child.wanted])
        return self.config is None or self.trained() is not None

    def ready(self, checkpoints: Mapping[str, str]) -> Config:
        """Return the config to run in the node's folder.

        Args:
            checkpoints: Reference -> the file it stands for; a reference that is missing here stays.
        """
        assert self.config is not None
        config = Config(copy.deepcopy(self.config._cfg_dict), filename=self.config.filename)
        for key, value in run_values(config).items():
            config[key] = _replaced(value, checkpoints)
        config.work_dir = str(self.folder)
        return config

    def _resolve(self, text: str) -> tuple[Node, str]:
        name, _, which = text.removeprefix(PREFIX).rpartition(":")
        node = self._find(name.split("/"))
        if node is not None and which in ("last", "best"):
            return node.last_run, which
        skipped = {skip for group in self._enclosing() for skip in group.left_out}
        left_out = f" ({name!r} is left out)" if name in skipped else ""
        earlier = [node.name for group in self._enclosing() for node in self._before(group)]
        source = self.config.filename if self.config is not None else ""
        raise ConfigError(
            f"{source}: run {self.path!r} uses {text!r}; write run:<name>:last or :best with one of the runs "
            f"before it: {earlier}{left_out}"
        )

    def _enclosing(self) -> list[Node]:
        """Return the groups that this node is in, the nearest first."""
        return [] if self.parent is None else [self.parent, *self.parent._enclosing()]

    def _before(self, group: Node) -> list[Node]:
        """Return the children of an enclosing group that come before the one with this node in it."""
        line = {id(self), *map(id, self._enclosing())}
        place = next(index for index, child in enumerate(group.children) if id(child) in line)
        return list(group.children[:place])

    def _find(self, names: Sequence[str]) -> Node | None:
        """Return the node before this one of a name, or of a path of names."""
        for group in self._enclosing():
            nodes: Sequence[Node] = self._before(group)
            for name in names:
                node = next((n for n in nodes if n.name == name), None)
                nodes = [] if node is None else node.children
            if node is not None:
                return node
        return None


def state_of(node: Node) -> tuple[str, str]:
    """Return the state of a node in a word, and a detail.

    The word is ``finished``, ``running``, ``begun``, ``to do``, or ``refused`` if the folder holds another
    run.
    """
    try:
        if node.finished():
            return "finished", _left(node)
        holder = RunLock(node.folder).holder()
        if holder is not None:
            return "running", f"on {holder.get('host')}, process {holder.get('pid')}"
        if node.children:
            ended = sum(child.finished() for child in node.children)
            begun = any(state_of(child)[0] != "to do" for child in node.children)
            if not node.wanted and not begun:
                return "to do", node.remark
            return "begun" if begun else "to do", f"{ended} of {len(node.children)} finished"
        if node.config is not None and node.trained() is not None:
            missing = ", ".join(step.name for step in node.steps if not step.done(node))
            return "begun", f"trained, {missing} missing"
        newest = latest_checkpoint(node.folder)
        if newest is not None or node.run_folder.read() is not None:
            return "begun", newest.name if newest is not None else "no checkpoint yet"
    except ConfigError as error:
        return "refused", str(error)
    return "to do", "" if node.wanted else node.remark


def _left(node: Node) -> str:
    """Return what a finished node left: its checkpoint, and the names of its steps."""
    parts = [step.name for step in node.steps if not step.always]
    if node.config is not None and not parts and (trained := node.trained()) is not None:
        parts = [trained.checkpoint]
    return ", ".join(parts)


def describe_plan(plan: Node) -> str:
    """Return a plan as text: a line per node, with its state."""
    lines, depths = [], {id(plan): 0}
    for node in plan.walk():
        depth = depths[id(node)] = 0 if node is plan else depths[id(node.parent)] + 1
        lines.append(("  " * depth + node.name, *state_of(node)))
    width = max(len(name) for name, _, _ in lines)
    return "\n".join(f"{name:<{width}}  {state:<8}  {detail}".rstrip() for name, state, detail in lines)


def is_reference(value: Any) -> bool:
    """Return whether a value of a config is a reference to a run."""
    return isinstance(value, str) and value.startswith(PREFIX)


def run_values(config: Config) -> dict[str, Any]:
    """Return the part of a config that a run reads; variables of its author may refer to anything."""
    return {key: value for key, value in config._cfg_dict.items() if key in KNOWN_KEYS}


def references_in(value: Any) -> list[str]:
    """Return all references in a value of a config."""
    if isinstance(value, dict):
        return [r for v in value.values() for r in references_in(v)]
    if isinstance(value, list | tuple):
        return [r for v in value for r in references_in(v)]
    return [value] if is_reference(value) else []


def _replaced(value: Any, checkpoints: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _replaced(v, checkpoints) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(v, checkpoints) for v in value)
    return checkpoints.get(value, value) if is_reference(value) else value


def check_references(plan: Node) -> None:
    """Look up every reference of a whole plan.

    Raises:
        ConfigError: One means no run that comes before.
    """
    for node in plan.walk():
        _ = node.references
