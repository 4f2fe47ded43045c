"""Training steps of one detector in several ways, to measure and compare them.

Every way is a call that trains for one step on the same random images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmlandmark.engine import plan_of_run
from mmlandmark.engine.compilation import compile_parts
from mmlandmark.engine.given_inputs import input_value
from mmlandmark.models.assembly import filled
from mmlandmark.models.data_preprocessor import CHANNELS_LAST
from mmlandmark.models.losses import EWCLoss
from mmlandmark.ops.backend import using_reference
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

Steps = dict[str, Callable[[], Any]]
OURS = "mmlandmark"
COMPILED = "torch.compile"
ALPHA = 40.0  # of the published recipe


class Batch(NamedTuple):
    """Random images with landmarks: normalised images (B, C, *S), samples, and points (B, K, D) pixels."""

    inputs: Tensor
    samples: list[LandmarkDataSample]
    points: np.ndarray


def training_steps(
    config: Any,
    size: Sequence[int],
    batch: int = 1,
    device: str = "cpu",
    against: dict[str, Any] | None = None,
    amp: bool = False,
    backend: str | None = None,
) -> tuple[Any, Steps]:
    """Return a model and ways to train it, or a variant of it, for one step.

    Args:
        config: Config of the model; of several stages the last one counts.
        size: (*S) of the images, which decides on the dimensions of the model.
        batch: Number of images.
        device: Device.
        against: Values of a variant of the config, trained for comparison.
        amp: Also train in bfloat16.
        backend: Of ``torch.compile``, to train its networks compiled, too.

    Raises:
        ValueError: No stage of the config makes an input that the model needs.
        ConfigError: The model cannot be compiled.
    """
    torch.manual_seed(0)
    run = plan_of_run(config, "work_dirs").last_run
    model = _build(run, run.config, device, len(size))
    inputs, samples, points = random_batch(model, run.config, size, batch, device)
    ours = step(model, lambda: model.loss(inputs, samples))
    steps: Steps = {OURS: ours, "operators in plain PyTorch": lambda: _in_plain_pytorch(ours)}
    parts = model.measured_parts(inputs, samples)
    planar_ewc = len(size) == 2 and [type(loss) for loss in model.head.losses.values()] == [EWCLoss]
    if planar_ewc and not parts:
        steps["published recipe"] = step(model, lambda: published_loss(model, inputs, points))
    if hasattr(getattr(model, "backbone", None), "with_checkpoint"):
        steps["backbone recomputed"] = lambda: _recomputed(model, ours)
    for name, part in parts.items():
        steps[name] = step(model, part.function) if part.trains else part.function
    if amp:
        steps["in bfloat16"] = step(model, lambda: _in_bfloat16(lambda: model.loss(inputs, samples), device))
    if backend:
        compiled = _build(run, run.config, device, len(size))
        compile_parts(compiled, dict(backend=backend))
        steps[COMPILED] = step(compiled, lambda: compiled.loss(inputs, samples))
    if against:
        changed: Any = copy.deepcopy(run.config)
        changed.merge_from_dict(against)
        variant = _build(run, changed, device, len(size))
        theirs = _as_preprocessed(variant, inputs)
        name = " ".join(f"{key}={value}" for key, value in against.items())
        steps[name] = step(variant, lambda: variant.loss(theirs, samples))
    return model, steps


def random_batch(model: Any, config: Any, size: Sequence[int], batch: int, device: str) -> Batch:
    """Return noise with random landmarks, as the model takes it."""
    channels = config.model.get("data_preprocessor", {}).get("channels") or 3
    images = torch.rand(batch, channels, *size)
    points = (
        torch.rand(batch, model.head.num_landmarks, len(size)).mul(torch.tensor(tuple(size)[::-1])).numpy()
    )
    samples = [
        LandmarkDataSample.from_landmarks(points[i], sample_id=str(i), ori_shape=tuple(size))
        for i in range(batch)
    ]
    normalized = model.data_preprocessor.normalize(images.to(device))
    return Batch(_as_preprocessed(model, normalized), samples, points)


def _as_preprocessed(model: Any, images: Tensor) -> Tensor:
    """Return normalised images in the memory format that a model's preprocessor gives them."""
    last = getattr(model.data_preprocessor, "channels_last", False)
    return images.contiguous(memory_format=CHANNELS_LAST[images.ndim] if last else torch.contiguous_format)


def step(module: nn.Module, loss: Callable[[], Any]) -> Callable[[], None]:
    """Return a training step of Adam; ``loss`` returns a loss or a dict of losses."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)

    def learn() -> None:
        optimizer.zero_grad(set_to_none=True)
        losses = loss()
        total: Any = sum(losses.values()) if isinstance(losses, dict) else losses
        total.backward()
        optimizer.step()

    return learn


def published_loss(model: Any, inputs: Tensor, points: np.ndarray) -> Tensor:
    """Return the EWC loss as published code computes it: targets are drawn one by one, at every level."""
    sigma, total = model.head.codec.sigma, inputs.new_zeros(())
    for maps in model.head(model.extract_features(inputs)):
        rows, columns = (np.arange(side, dtype=np.float64) for side in maps.shape[2:])
        scale = maps.shape[2] / inputs.shape[2]
        drawn = np.zeros(maps.shape)
        for b, k in np.ndindex(points.shape[:2]):
            x, y = scale * points[b, k]
            drawn[b, k] = np.exp(-((columns - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * sigma**2))
        target = torch.from_numpy(drawn.astype(np.float32)).to(maps.device)
        total = total + ((maps - target) ** 2 * ALPHA**target).mean()
    return total


def _build(run: Any, config: Any, device: str, dims: int) -> Any:
    """Build a model to train, with untrained models of the stages that make its inputs."""
    model = MODELS.build(filled(MODELS, config.model, dims=dims)).to(device).train()
    for name in getattr(model, "run_inputs", {}):
        maker, _ = run.references.get(input_value(config, name), (None, ""))
        if maker is None:
            raise ValueError(
                f"a step of {type(model).__name__} is measured with the stage that makes its input {name!r}: "
                "the config has none"
            )
        made = MODELS.build(filled(MODELS, maker.config.model, dims=dims))
        model.receive_input(name, made.to(device))
    return model


def _in_plain_pytorch(call: Callable[[], None]) -> None:
    with using_reference():
        call()


def _in_bfloat16(loss: Callable[[], Any], device: str) -> Any:
    with torch.autocast(device, torch.bfloat16):
        return loss()


def _recomputed(model: Any, call: Callable[[], None]) -> None:
    model.backbone.with_checkpoint = True
    try:
        call()
    finally:
        model.backbone.with_checkpoint = False
