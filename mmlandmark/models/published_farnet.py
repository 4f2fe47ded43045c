"""Weights of published code under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmlandmark.models.backbones.densenet import renamed_densenet

# Modules of the published FARNet and what they are in configs/farnet; each holds a conv* and a norm* layer.
_FARNET_BLOCKS = {
    "w1_conv11_0": "head.guide",
    "w1_conv33_01": "neck.bottom.0",
    "w1_conv11_1": "neck.bottom.1",
    "w1_conv11_2": "neck.up1_3.fuse",
    "w1_conv11_3": "neck.up1_2.fuse",
    "mid_conv11_1": "neck.up1_1.fuse",
    "conv33_stride1": "neck.step_2",
    "conv33_stride2": "neck.step_3",
    "conv33_stride3": "neck.step_4",
    "wblock1.conv11": "neck.down_2.fuse",
    "wblock2.conv11": "neck.down_3.fuse",
    "wblock3.conv33": "neck.down_4.fuse",
    "w2_conv11_1": "neck.turn",
    "w2_conv11_2": "neck.up2_3.fuse",
    "w2_conv11_3": "neck.up2_2.fuse",
    "w2_conv11_4": "neck.up2_1.fuse",
    "w2_conv11_5": "neck.up2_0.fuse",
}
_FARNET_CONVS = {
    "conv_33_refine1": "head.coarse_hidden",
    "conv_11_refine": "head.coarse_conv",
    "conv_33_last1": "head.fine_hidden",
    "conv_11_last": "head.fine_conv",
}
# In the published module, but no part of what it computes.
_FARNET_UNUSED = re.compile(
    r"(?:wblock[12]\.conv33|wblock3\.conv11|conv_33_refine2|conv_33_last2|upsample\d+)\.|(?:.+\.)?classifier\."
)


def farnet_state_dict(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the published FARNet (DenseNet-121) under the names of ``configs/farnet``.

    Args:
        published: Its ``state_dict()``. The file that the published script writes is a pickle of the whole
            module; save its ``state_dict()`` where that code is at hand, so that loading it runs no code.

    Raises:
        ValueError: A name belongs to no part of FARNet; it is named.
    """
    found = {}
    for name, value in published.items():
        name = name.removeprefix("module.")
        if name.startswith("features."):
            found[f"backbone.{renamed_densenet(name)}"] = value
        elif not _FARNET_UNUSED.match(name):
            found[_farnet_name(name)] = value
    return found


def _farnet_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    if module in _FARNET_CONVS:
        return f"{_FARNET_CONVS[module]}.{parameter}"
    block, _, layer = module.rpartition(".")
    kind = re.fullmatch(r"(conv|norm)\d+_\d+", layer)
    if block not in _FARNET_BLOCKS or kind is None:
        raise ValueError(f"{name!r} is no parameter of the published FARNet")
    return f"{_FARNET_BLOCKS[block]}.{'conv' if kind[1] == 'conv' else 'bn'}.{parameter}"
