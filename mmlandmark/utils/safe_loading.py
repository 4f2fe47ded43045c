"""MMEngine's loaders of weights, made safe for as long as code of ours runs.

MMEngine reads checkpoints by :func:`torch.load`, whose safety depends on the version of torch, on the kind of
address and on the fork of MMEngine; and its ``init_cfg=dict(type="Pretrained")`` accepts the weights of any
other network. Both are process-wide tables, so they are changed only inside ``with safe_loading:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmlandmark.utils.checkpoint import check_state_dict, fetch_checkpoint, load_checkpoint
from mmlandmark.utils.patching import SharedPatch


def _load_from_local(filename: str, map_location: Any = None, logger: Any = None) -> dict:
    return load_checkpoint(filename, map_location)


def _load_from_http(filename: str, map_location: Any = None, **_: Any) -> dict:
    return load_checkpoint(fetch_checkpoint(filename), map_location)


# MMEngine logs the part of the name behind "load_from_".
_load_from_local.__name__, _load_from_http.__name__ = "load_from_local", "load_from_http"
_LOADERS: dict[str, Callable[..., dict]] = {
    "": _load_from_local,
    "http://": _load_from_http,
    "https://": _load_from_http,
}


class StrictPretrainedInit(PretrainedInit):
    """Initialize a module from a checkpoint that has all of its weights.

    Further weights in the file, such as a classifier, are ignored; counters of batch norms may be missing.
    Any registered scheme of addresses works.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            ValueError: The file lacks weights of the module, or cannot be loaded safely.
        """
        loaded = CheckpointLoader.load_checkpoint(self.checkpoint, map_location="cpu")
        prefix = self.prefix or ""
        given = {
            key.removeprefix(prefix): value
            for key, value in loaded.get("state_dict", loaded).items()
            if key.startswith(prefix)
        }
        own = module.state_dict()
        counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
        state = counters | {key: value for key, value in given.items() if key in own}
        check_state_dict(module, state, f"init_cfg.checkpoint {self.checkpoint}")
        module.load_state_dict(state)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())


@SharedPatch
@contextmanager
def safe_loading() -> Iterator[None]:
    """Let MMEngine load weights only as tensors and plain values, and only into the module they belong to.

    Inside, local files and addresses are read by :func:`mmlandmark.utils.checkpoint.load_checkpoint`, and
    ``init_cfg=dict(type="Pretrained")`` is :class:`StrictPretrainedInit`, in modules of any package.
    """
    schemes = {prefix: CheckpointLoader._schemes[prefix] for prefix in _LOADERS}
    from_http = mmengine_checkpoint.load_from_http  # what the loaders of torchvision:// and openmmlab:// call
    pretrained = WEIGHT_INITIALIZERS.module_dict["Pretrained"]
    try:
        CheckpointLoader._schemes.update(_LOADERS)
        mmengine_checkpoint.load_from_http = _load_from_http
        WEIGHT_INITIALIZERS.module_dict["Pretrained"] = StrictPretrainedInit
        yield
    finally:
        CheckpointLoader._schemes.update(schemes)
        mmengine_checkpoint.load_from_http = from_http
        WEIGHT_INITIALIZERS.module_dict["Pretrained"] = pretrained
