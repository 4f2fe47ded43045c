"""A detector and the weights of a file: put together, or only compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import MODELS
from mmlandmark.utils.checkpoint import check_state_dict, put_training_back, training_keys
from mmlandmark.utils.sentences import one_line

_CALLS_PER_WEIGHT = 100  # of torch, to create a weight and to initialise it: about 10
_SPARE_CALLS = 10_000
_SPARE_VALUES = 2**22


def detector_with_weights(model: dict, checkpoint: dict[str, Any], where: str) -> BaseDetector:
    """Return a detector with the weights of a checkpoint, in test mode.

    Args:
        model: Its config.
        checkpoint: As loaded.
        where: What the checkpoint is, for errors.

    Raises:
        ValueError: The weights are those of another model.
    """
    detector = MODELS.build(model)
    put_training_back(checkpoint, detector)
    check_state_dict(detector, checkpoint.get("state_dict", checkpoint), where)
    detector.load_state_dict(checkpoint.get("state_dict", checkpoint))
    return detector.eval()


def check_detector(model: Mapping[str, Any], state_dict: dict[str, Tensor], where: str) -> BaseDetector:
    """Compare a detector with weights without reserving memory for it; return it, on the meta device.

    For configs and weights of unknown origin: a network that is larger than the weights is refused before it
    is built.

    Args:
        model: Config of the detector.
        state_dict: Its weights, all of them.
        where: What they are, for errors.

    Raises:
        ValueError: The config describes no detector, or the weights are those of another one.
    """
    limit = _SPARE_CALLS + _CALLS_PER_WEIGHT * len(state_dict)
    try:
        kind = MODELS.get(str(model.get("type")))
        if not (isinstance(kind, type) and issubclass(kind, BaseDetector)):
            raise ValueError(f"{model.get('type')!r} is no detector")
        with torch.device("meta"), _Bounded(limit):
            detector = MODELS.build(dict(model))
    except Exception as error:  # a config of unknown origin leads constructors anywhere
        raise ValueError(f"{where}: its config describes no detector: {one_line(error)}") from error
    check_state_dict(detector, state_dict, where)
    known = sum(value.numel() for value in state_dict.values())
    apart = training_keys(detector)
    values = [v for k, v in detector.named_parameters() if k in apart]
    values += [v for k, v in detector.named_buffers() if k in apart or k not in state_dict]
    if sum(value.numel() for value in values) > known + _SPARE_VALUES:
        raise ValueError(f"{where}: its config describes a network that is larger than its weights")
    return detector


def check_maps(detector: BaseDetector, pipeline: Sequence[Mapping[str, Any]], dims: int, where: str) -> None:
    """Compare the shapes of an image and of the maps with what a detector's head expects.

    Args:
        detector: On the meta device, so that nothing is computed.
        pipeline: What an image goes through; one that fixes no size is not compared.
        dims: Spatial dimensions of images.
        where: What the detector is, for errors.

    Raises:
        ValueError: The image of the pipeline does not pass the network, or there are more or fewer maps.
    """
    sizes = [step["size"] for step in pipeline if step.get("size")]
    if not sizes:
        return
    channels = next((step["channels"] for step in pipeline if step.get("channels")), 1)
    try:
        with torch.no_grad(), torch.device("meta"):
            image = torch.empty(1, channels, *sizes[-1])
            own = detector.data_preprocessor
            maps = detector.eval().raw_maps(own.pad(own.normalize(image)))
    except NotImplementedError:  # a network that computes on numbers
        return
    except Exception as error:  # a config of unknown origin leads networks anywhere
        raise ValueError(
            f"{where}: an image of {sizes[-1]} does not pass its network: {one_line(error)}"
        ) from error
    expected = (1, detector.head.num_maps)
    if tuple(maps.shape[:2]) != expected or maps.ndim != dims + 2:
        raise ValueError(
            f"{where}: its network makes maps of shape {tuple(maps.shape)}, its head needs {expected[1]} "
            f"maps in {dims}D"
        )


class _Bounded(TorchFunctionMode):
    """Ends a construction that takes more calls of torch than a network of that many weights needs."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        self.calls -= 1
        if self.calls < 0:
            raise ValueError("the network has more parts than there are weights")
        return func(*args, **(kwargs or {}))
