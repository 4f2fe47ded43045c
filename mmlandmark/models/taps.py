"""What modules inside a network return while it runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class _EverythingHeard(Exception):
    """Ends a forward pass that was only run for its taps."""


def check_taps(network: nn.Module, paths: Sequence[str], where: str) -> None:
    """Raise ValueError unless every path names a module of ``network``; ``where`` begins the message."""
    known = [name for name, _ in network.named_modules() if name]
    for path in paths:
        if path not in known:
            near = difflib.get_close_matches(path, known, n=5, cutoff=0.4)
            children = ", ".join(near or [name for name, _ in network.named_children()])
            raise ValueError(f"{where} has no module {path!r}; close to it: {children}")


@contextmanager
def listening(
    network: nn.Module, paths: Sequence[str], stop: bool = False, where: str | None = None
) -> Iterator[dict[str, Tensor]]:
    """Record what modules of ``network`` return while it runs inside of the context.

    Of a module that returns several tensors the first is kept, which is the main one of backbones, necks and
    heads. Tap whole blocks: what a layer returns may be changed in place by the next one.

    Args:
        network: Any network.
        paths: Names as in ``network.named_modules()``.
        stop: End the pass when all paths have been heard, so that what comes behind is not computed.
        where: Whose modules they are, to begin an error with.

    Yields:
        Path -> (B, C, *S), filled while the network runs.

    Raises:
        ValueError: The network ran without some of the modules, such as branches outside of training.
    """
    found: dict[str, Tensor] = {}
    wanted = set(paths)

    def listen(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[path] = output if isinstance(output, Tensor) else output[0]
            if stop and len(found) == len(wanted):
                raise _EverythingHeard

        return hook

    handles = [network.get_submodule(path).register_forward_hook(listen(path)) for path in wanted]
    try:
        yield found
        silent = sorted(wanted - set(found))
        if silent:
            raise ValueError(
                f"{where or type(network).__name__} has {silent}, but they do not run: tap modules that do, "
                "those for which mmlandmark flops lists an output"
            )
    except _EverythingHeard:
        pass
    finally:
        for handle in handles:
            handle.remove()
