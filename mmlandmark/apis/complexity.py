"""Parameters and multiply-adds of a detector, module by module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from mmlandmark.models.detectors import BaseDetector
from mmlandmark.utils.checkpoint import training_keys


@dataclass(frozen=True)
class ModuleCost:
    """The cost of one module, including the modules inside it.

    Attributes:
        name: Its path, empty for the whole detector.
        parameters: Number of learned values; those that only training uses are included on request.
        macs: Multiply-adds for one image.
        output: (C, *S) of its last output; None if this is not a tensor, or the module was not run.
    """

    name: str
    parameters: int
    macs: int
    output: tuple[int, ...] | None


def count_costs(
    model: BaseDetector, image_shape: Sequence[int], training: bool = False, depth: int = 2
) -> list[ModuleCost]:
    """Return the costs of a detector and its modules for one image, without computing any values.

    Multiply-adds are those of convolutions and linear layers, without biases; norms, activations,
    interpolation and products of features are not counted. The tool of the HRNet release, which FSF-LD
    (Huang et al. 2022) used, counts in the same way; their numbers are in units of 2^30.

    Args:
        model: Any detector. It is moved to the meta device, so its weights are lost.
        image_shape: (C, *S) of the network's input, after the preprocessor.
        training: Include branches and supervised levels that only training runs. Parameters of losses are
            counted, but losses are not run.
        depth: Levels of modules to list; 0 lists the whole detector only.

    Returns:
        The whole detector first, then its modules in their order.
    """
    macs: dict[str, int] = {}
    outputs: dict[str, tuple[int, ...]] = {}

    def listen(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = tuple(output.shape[1:])
            macs[name] = macs.get(name, 0) + _own_macs(module, inputs, output)

        return hook

    model = model.eval().to("meta")
    handles = [module.register_forward_hook(listen(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            inputs = torch.empty(1, *image_shape, device="meta")
            (model.training_maps if training else model.raw_maps)(inputs)
    finally:
        for handle in handles:
            handle.remove()
    left_out = set() if training else training_keys(model)
    return [
        ModuleCost(
            name,
            sum(p.numel() for key, p in module.named_parameters(name) if key not in left_out),
            sum(n for key, n in macs.items() if not name or key == name or key.startswith(name + ".")),
            outputs.get(name),
        )
        for name, module in model.named_modules()
        if not name or (name.count(".") < depth and _counted(module, name, left_out))
    ]


def count_models(model: BaseDetector) -> int:
    """Return how many detectors that were trained by themselves are in a model: 1 for a plain one."""
    detectors = [module for module in model.modules() if isinstance(module, BaseDetector)]
    return sum(
        not any(isinstance(part, BaseDetector) for part in one.modules() if part is not one)
        for one in detectors
    )


def _counted(module: nn.Module, name: str, left_out: set[str]) -> bool:
    """Whether a module has parameters to count."""
    return any(key not in left_out for key, _ in module.named_parameters(name))


def _own_macs(module: nn.Module, inputs: tuple, output: Any) -> int:
    """Return the multiply-adds of one image in a layer itself, without the modules inside it."""
    if isinstance(module, _ConvTransposeNd):
        return module.weight.numel() * inputs[0][0, 0].numel()
    if isinstance(module, _ConvNd):
        return module.weight.numel() * output[0, 0].numel()
    if isinstance(module, nn.Linear):
        return module.weight.numel() * (output[0].numel() // output.shape[-1])
    uncounted: Any = getattr(module, "uncounted_macs", None)
    return 0 if uncounted is None else uncounted(*inputs)
