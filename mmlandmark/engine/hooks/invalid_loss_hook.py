"""Stop a run, or leave a step out, with a loss or a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlandmark.engine.processes import bare
from mmlandmark.registry import HOOKS

CURE = "Lower the learning rate, clip gradients (optim_wrapper.clip_grad)"


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Never let the optimiser take a step by a loss or a gradient that is NaN or infinite.

    The runner adds this hook to every training that has none, unless its config has
    ``default_hooks.invalid_loss=None``. Before each step the norm of the gradient is looked at, as it is
    before it is clipped: of an infinite one that would leave nothing, or a direction that means nothing. A
    norm beyond the range of its number type is infinite; below, a gradient may be as large as it likes.
    With several processes all have the same gradient, so that all
    decide alike, and all name the samples of the process whose loss it was. The weights that led to it are
    not saved, so the last checkpoint is still good.
    Where the gradients of several iterations make a step (``accumulative_counts``), that step is left out.
    Where MMEngine scales the loss for float16 (``AmpOptimWrapper``), its own rule comes first: it leaves such
    steps out, and lowers the scale; those of a loss that is not finite are counted here.

    Args:
        interval: Look every this many iterations.
        on_invalid: ``stop`` the run, naming losses and samples; or ``skip`` the step, with a warning that
            names them, and count.
        most: Steps in a row that may be left out; one more stops the run.

    Attributes:
        skipped: Steps that were left out.

    Raises:
        ValueError: ``interval`` is below 1, ``most`` negative, or ``on_invalid`` unknown.
    """

    priority = "VERY_HIGH"

    def __init__(
        self, interval: int = 1, on_invalid: Literal["stop", "skip"] = "stop", most: int = 10
    ) -> None:
        if interval < 1 or most < 0:
            raise ValueError(f"interval must be at least 1 and most at least 0, got {interval} and {most}")
        if on_invalid not in ("stop", "skip"):
            raise ValueError(f"on_invalid must be 'stop' or 'skip', got {on_invalid!r}")
        self.interval, self.on_invalid, self.most = interval, on_invalid, most
        self.skipped = 0
        self._in_a_row = 0
        self._broken = False  # the gradient of this step was not finite
        self._stepped = False  # the optimiser has had its turn
        self._bad: dict[str, Any] = {}  # losses since the last step
        self._looking = True
        self._due = False  # to look at the next step, as at an iteration before it: alike in all processes
        self._samples: list[str] = []  # since the last step, of which there may be one for several batches
        self._handles: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Look at the gradients before they are clipped, and before the optimiser does."""
        for wrapper in _wrappers(runner):
            self._handles.append(wrapper.optimizer.register_step_pre_hook(self._before_step))
            if wrapper.clip_grad_kwargs and not isinstance(wrapper, AmpOptimWrapper):
                wrapper.clip_func = partial(self._clip, wrapper.clip_func)

    def _clip(self, clip: Callable[..., Tensor | None], parameters: list[Tensor], **options: Any) -> Any:
        """Clip a gradient that is finite, and return what is logged of it."""
        return clip(parameters, **options) if not self._due or self._look(parameters) else None

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepped = True
        if self._due:
            self._look(p for group in optimizer.param_groups for p in group["params"])

    def _look(self, parameters: Iterable[Tensor]) -> bool:
        """Take gradients away unless they are finite: without them a step changes nothing."""
        own = [parameter for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in own if p.grad is not None])
        finite = bool(torch.isfinite(norm))
        if not finite:
            self._broken = True
            for parameter in own:
                parameter.grad = None
        return finite

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the samples whose gradient comes next."""
        self._looking = (runner.iter + 1) % self.interval == 0
        self._due = self._due or self._looking
        samples = (data_batch or {}).get("data_samples", [])
        self._samples += [str(sample.get("sample_id", "?")) for sample in samples]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Stop, or say what was left out.

        Raises:
            FloatingPointError: A loss or the gradient of this iteration is not finite, and is not to be left
                out; or too many were, or running statistics of the network have become useless.
        """
        if self._looking:
            self._bad.update(_not_finite(outputs or {}))
        done = self._stepped or all(wrapper.should_update() for wrapper in _wrappers(runner))
        if not done and (self.on_invalid == "skip" or not self._bad):
            return  # the gradient waits for those of the next iterations
        due, bad, broken, stepped, samples = self._due, self._bad, self._broken, self._stepped, self._samples
        self._due, self._bad, self._broken, self._stepped, self._samples = False, {}, False, False, []
        if not bad and not broken:
            self._in_a_row = 0 if due else self._in_a_row
            return
        lost = [name for name, value in bare(runner).named_buffers() if not _finite(value)]
        own = (bad, samples, lost[:1])
        parts = all_gather_object(own) if broken else [own]  # a gradient is broken in all processes or none
        text = f"epoch {runner.epoch + 1}, iteration {runner.iter + 1}: {_what(parts)}"
        if self.on_invalid == "stop" or (stepped and not broken):
            raise FloatingPointError(f"{text}. {CURE}, or look at these images.")
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        if self._in_a_row > self.most:
            raise FloatingPointError(
                f"{text}; {self._in_a_row} steps in a row were left out. {CURE}, or look at these images."
            )
        names = [name for *_, own_lost in parts for name in own_lost]
        if names:
            raise FloatingPointError(
                f"{text}. The step was left out, but {names[0]} holds numbers of these images that are not "
                "finite: repair or remove the images"
            )
        runner.logger.warning(f"{text}. This step is left out")

    def after_train(self, runner: Runner) -> None:
        """Say how many steps were left out."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self.skipped:
            runner.logger.warning(f"{self.skipped} steps were left out: loss or gradient was not finite")


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    wrappers = runner.optim_wrapper
    return list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _not_finite(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the losses that are not finite."""
    values = {key: torch.as_tensor(value).float() for key, value in outputs.items() if "loss" in key}
    return {key: value.tolist() for key, value in values.items() if not _finite(value)}


def _what(parts: list[tuple[dict[str, Any], list[str], list[str]]]) -> str:
    """Say what is not finite, from losses that are not, samples and buffers of each process."""
    said = [f"{bad} is not finite; samples {samples}" for bad, samples, _ in parts if bad]
    everyone = [sample for _, samples, _ in parts for sample in samples]
    return "; ".join(said) or f"the gradient is not finite, though all losses are; samples {everyone}"
