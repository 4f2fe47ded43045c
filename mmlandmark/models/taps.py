"""Outputs of modules inside a network, recorded while it runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class _AllRecorded(Exception):
    """Ends a forward pass that is run for its taps alone."""


def check_taps(network: nn.Module, paths: Sequence[str], where: str) -> None:
    """Raise ValueError unless every path names a module of ``network``; ``where`` begins the message."""
    known = [name for name, _ in network.named_modules() if name]
    for path in paths:
        if path not in known:
            near = difflib.get_close_matches(path, known, n=5, cutoff=0.4)
            children = ", ".join(near or [name for name, _ in network.named_children()])
            raise ValueError(f"{where} has no module {path!r}; close to it: {children}")


@contextmanager
def record_outputs(
    network: nn.Module, paths: Sequence[str], stop: bool = False, where: str | None = None
) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of modules of ``network`` while it runs in this context.

    Of several tensors that a module returns the first is kept: the main one of backbones, necks and heads.
    Tap
    whole blocks: the next layer may change a layer's output in place.

    Args:
        network: Any network.
        paths: Names as in ``network.named_modules()``.
        stop: End the forward pass after the last of the modules, to save the rest of it.
        where: Name of the network in an error.

    Yields:
        Path -> (B, C, *S), filled while the network runs.

    Raises:
        ValueError: Some of the modules did not run, such as branches outside of training.
    """
    outputs: dict[str, Tensor] = {}
    wanted = set(paths)

    def recorder(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[path] = output if isinstance(output, Tensor) else output[0]
            if stop and len(outputs) == len(wanted):
                raise _AllRecorded

        return hook

    handles = [network.get_submodule(path).register_forward_hook(recorder(path)) for path in wanted]
    try:
        yield outputs
        silent = sorted(wanted - set(outputs))
        if silent:
            raise ValueError(
                f"{where or type(network).__name__} has {silent}, but they do not run: tap modules that do, "
                "those for which mmlandmark flops lists an output"
            )
    except _AllRecorded:
        pass
    finally:
        for handle in handles:
            handle.remove()
