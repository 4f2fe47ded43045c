"""Gradients that wait for those of the next iterations, in checkpoints.

With ``accumulative_counts`` of an optimiser wrapper the gradients of several iterations make one step, also
over the end of an epoch. A checkpoint that is saved in between holds what has been accumulated, so that a
resumed run takes the step that it would have taken without a break.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mmlandmark.engine.training_state import BrokenStateError, as_count, of_type
from mmlandmark.utils.checkpoint import is_plain_tensor

KEY = "pending_gradients"


def pending_gradients(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, dict[str, Any]]:
    """Return the gradients that no step has used yet, by optimiser; all processes must come here together.

    In several processes each has a gradient of its own until the step, which is by their mean. That is taken
    here already, in every process: one checkpoint then holds for all.

    Args:
        wrapper: Of a run.

    Returns:
        Of each optimiser that has some: ``count`` of iterations since its last step, ``of`` so many, and
        ``gradients`` by the number of the parameter, of its shape, on the CPU.
    """
    found = {}
    for name, one in _named(wrapper).items():
        if one.should_update():
            continue
        parameters = _parameters(one)
        if get_world_size() > 1:
            _share(parameters)
        gradients = {
            index: parameter.grad.detach().to("cpu", copy=True)
            for index, parameter in enumerate(parameters)
            if parameter.grad is not None
        }
        if gradients:
            counts = one._accumulative_counts
            found[name] = dict(count=one._inner_count % counts, of=counts, gradients=gradients)
    return found


def _share(parameters: list[torch.Tensor]) -> None:
    """Replace the gradients of this process by the mean over all processes, where one has any."""
    known = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int64)
    known = known.to(parameters[0].device)
    all_reduce(known, op="max")
    for parameter, one_has in zip(parameters, known.tolist(), strict=True):
        if one_has:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            all_reduce(parameter.grad, op="mean")


def restore_gradients(runner: Runner, saved: Any, source: str) -> None:
    """Give the parameters the gradients back that waited for a step when the checkpoint was saved.

    If the run now takes its steps at other iterations they are left out, with a warning.

    Args:
        runner: Of the run, at the iteration from which it goes on.
        saved: See :func:`pending_gradients`; None if there were none.
        source: Checkpoint, for errors.

    Raises:
        ValueError: They are not what they should be; the part that is wrong is named.
    """
    wrapper = runner.optim_wrapper
    try:
        parts = of_type({} if saved is None else saved, Mapping, KEY)
        for name, one in _named(wrapper).items():
            if name not in parts:
                continue
            part = of_type(parts[name], Mapping, f"{KEY}[{name!r}]")
            where, parameters = f"{KEY}[{name!r}]", _parameters(one)
            gradients = _checked(part.get("gradients"), parameters, f"{where}.gradients")
            count, of = (as_count(part.get(key), f"{where}.{key}") for key in ("count", "of"))
            if isinstance(wrapper, OptimWrapperDict):  # MMEngine sets the counts of a single one only
                one._inner_count = count
            else:
                one._inner_count = runner.iter
            if of != one._accumulative_counts or one._inner_count % of != count:
                runner.logger.warning(
                    f"the gradients that the last {count} iterations of {source} have accumulated are left "
                    "out: accumulative_counts or the number of iterations in an epoch has changed"
                )
                continue
            for index, gradient in gradients.items():
                parameters[index].grad = gradient.to(parameters[index].device, copy=True)
    except BrokenStateError as error:
        raise ValueError(f"checkpoint {source} cannot be resumed, it is broken: {error}") from error


def _checked(gradients: Any, parameters: list[torch.Tensor], where: str) -> dict[int, torch.Tensor]:
    for index, gradient in of_type(gradients, Mapping, where).items():
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(parameters):
            raise BrokenStateError(f"{where} has an entry {str(index)[:40]!r} for no parameter")
        own = parameters[index]
        if not is_plain_tensor(gradient):
            raise BrokenStateError(f"{where}[{index}] is no tensor that holds its values")
        if gradient.shape != own.shape or gradient.dtype != own.dtype:
            raise BrokenStateError(
                f"{where}[{index}] is {gradient.dtype} of shape {tuple(gradient.shape)} instead of "
                f"{own.dtype} of shape {tuple(own.shape)}"
            )
    return dict(gradients)


def _named(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, OptimWrapper]:
    return dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {"optimizer": wrapper}


def _parameters(wrapper: OptimWrapper) -> list[torch.Tensor]:
    return [parameter for group in wrapper.optimizer.param_groups for parameter in group["params"]]
