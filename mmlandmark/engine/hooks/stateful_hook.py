"""Hooks with a state that checkpoints keep, so that a resumed run equals one without a break."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.hooks import Hook


class StatefulHook(Hook):
    """A hook whose state is saved in every checkpoint and loaded when the run is resumed.

    The runner stores ``state_dict()`` in the checkpoint under ``hook_states[<class name>]`` and calls
    ``load_state_dict`` before ``before_train``. A run that is not resumed loads nothing.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors, numbers, strings and containers of them."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state.

        Args:
            state: From a checkpoint, which is data of unknown origin: nothing in it may be trusted.

        Raises:
            ValueError: A part is not what it should be; it is named.
        """
        raise NotImplementedError


def hook_states(hooks: Iterable[Hook]) -> dict[str, dict[str, Any]]:
    """Return the states of all stateful hooks, by name."""
    return {name: hook.state_dict() for name, hook in _named(hooks).items()}


def restore_hooks(hooks: Iterable[Hook], states: Mapping[str, Mapping[str, Any]], source: str) -> list[str]:
    """Give all stateful hooks their states back.

    Args:
        hooks: Of the run.
        states: See :func:`hook_states`.
        source: Checkpoint, for errors.

    Returns:
        Names of the hooks that have no state in the checkpoint.

    Raises:
        ValueError: A state is broken; checkpoint, hook and part are named.
    """
    missing = []
    for name, hook in _named(hooks).items():
        if name not in states:
            missing.append(name)
            continue
        try:
            hook.load_state_dict(states[name])
        except ValueError as error:
            raise ValueError(
                f"checkpoint {source} cannot be resumed, it is broken: hook_states[{name!r}]: {error}"
            ) from error
    return missing


def _named(hooks: Iterable[Hook]) -> dict[str, StatefulHook]:
    """Return the stateful hooks by class name; further ones of a class are numbered."""
    named: dict[str, StatefulHook] = {}
    for hook in hooks:
        if isinstance(hook, StatefulHook):
            kind = type(hook).__name__
            count = sum(name.split("#")[0] == kind for name in named)
            named[f"{kind}#{count + 1}" if count else kind] = hook
    return named
