"""``compile`` in a config: which parts of a detector go through torch.compile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.runner import Runner

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.processes import bare


def compile_networks(runner: Runner) -> None:
    """Compile a detector's networks in place, if the config has ``compile``.

    MMEngine compiles the whole training step, with the samples' matrices and names in it, which torch.compile
    cannot follow. Here every part that computes on tensors is compiled by itself: backbone, neck and head, of
    every member. Names of weights stay what they are, so checkpoints fit without ``compile``.

    Args:
        runner: Its config's ``compile`` is True, or a dict of arguments of :meth:`torch.nn.Module.compile`
            (``backend``, ``mode``); nothing happens where it is absent or False.

    Raises:
        ConfigError: It is neither, or as :func:`compile_parts` raises.
    """
    options = runner.cfg.get("compile", None)
    if options is None or options is False:
        return
    if options is not True and not isinstance(options, dict):
        raise ConfigError(
            f"compile must be True, False or a dict of arguments of torch.compile, got {options!r}"
        )
    count = compile_parts(bare(runner), {} if options is True else options)
    runner.logger.info(f"compiled with torch.compile: {count} networks; the first steps take longer")


def compile_parts(model: Any, options: Mapping[str, Any]) -> int:
    """Compile the networks of a detector in place, and return how many there are.

    Args:
        model: The detector.
        options: Arguments of :meth:`torch.nn.Module.compile`.

    Raises:
        ConfigError: PyTorch does not know an option, or the model listens to modules inside of its networks.
    """
    if getattr(model, "taps_modules", False):
        raise ConfigError(
            f"compile does not go with {type(model).__name__}: it reads the outputs of modules inside of its "
            "network, which a compiled network does not call one by one; leave compile out"
        )
    networks = [
        part
        for detector in getattr(model, "members", None) or [model]
        for name, part in detector.named_children()
        if name != "data_preprocessor"
    ]
    try:
        for part in networks:
            part.compile(**options)
    except (RuntimeError, TypeError) as error:  # of torch.compile itself; networks are compiled when called
        raise ConfigError(f"torch.compile does not take {dict(options)}: {error}") from error
    return len(networks)
