"""What models and hooks declare as the inputs of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunInput:
    """The keys of an input of a run in the config of the model or hook that takes it.

    A class lists its inputs in the attribute ``run_inputs``, name -> :class:`RunInput`. The command line then
    takes ``--input name=FILE``, a stage may get the input from another run, and no code outside of the class
    needs to know about it.

    Attributes:
        file: Dotted key of the file.
        config: Dotted key of the config of a checkpoint, if one may be given. Without one, the config beside
            the checkpoint is used.
        weights: Whether a hook's file holds weights that the run learns from; results name it. Those of a
            model are known by the key ``checkpoint``.
    """

    file: str
    config: str | None = None
    weights: bool = False
