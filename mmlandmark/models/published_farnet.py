"""What the published code of FARNet (Ao and Wu 2023) does differently from its paper, and its weights.

Only for reproducing published numbers; ``configs/farnet/README.md`` lists what each difference costs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmlandmark.codecs import GaussianHeatmapCodec
from mmlandmark.models.backbones.densenet import renamed_densenet
from mmlandmark.models.data_preprocessor import LandmarkDataPreprocessor
from mmlandmark.models.detectors import LandmarkDetector
from mmlandmark.registry import CODECS, MODELS


@CODECS.register_module()
class PublishedFARNetCodec(GaussianHeatmapCodec):
    """A codec that counts pixels from 1 when it encodes, but from 0 when it decodes.

    Coordinates of a map are those of the input times the ratio of sizes, without the half-pixel shift. Every
    landmark is predicted about one pixel of the map too far to the upper left, in a mirrored image to the
    upper right, so that the maps of both have no mean.
    """

    not_mirrored = (
        "PublishedFARNetCodec draws a landmark 1 to 2 pixels of the map away from where a mirror has it"
    )

    def to_map(self, landmarks: Tensor, input_size: Sequence[int], map_size: Sequence[int]) -> Tensor:
        """Return where the published code draws landmarks (B, K, D) in a map of ``map_size``."""
        ratio = [m / s for m, s in zip(map_size[::-1], input_size[::-1], strict=True)]
        return landmarks * landmarks.new_tensor(ratio) - 1

    def comparable_by(self) -> dict[str, Any]:
        """Return what two codecs must have in common, the grid too."""
        return super().comparable_by() | {"type": type(self).__name__}


@MODELS.register_module()
class PublishedFARNetPreprocessor(LandmarkDataPreprocessor):
    """Blue first and values from 0 to 255, but normalised by ``mean`` and ``std`` of red first and 0 to 1."""

    def to_channels(self, images: Tensor) -> Tensor:
        """Return (B, C, *S) images as the published code reads them."""
        return 255 * super().to_channels(images).flip(1)


@MODELS.register_module()
class PublishedFARNetDetector(LandmarkDetector):
    """A detector in which batch norms use the statistics of the batch they see at the test, too.

    A prediction then depends on the other images of its batch.
    """

    def train(self, mode: bool = True) -> PublishedFARNetDetector:
        """Set the mode of training or of the test."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):  # What is frozen in training stays so.
                module.training, module.track_running_stats = module.training or not mode, mode
        return self


# Modules of the published FARNet and their names in configs/farnet; each holds a conv* and a norm* layer.
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
# In the published module, but never computed.
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
    renamed = {}
    for name, value in published.items():
        name = name.removeprefix("module.")
        if name.startswith("features."):
            renamed[f"backbone.{renamed_densenet(name)}"] = value
        elif not _FARNET_UNUSED.match(name):
            renamed[_farnet_name(name)] = value
    return renamed


def _farnet_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    if module in _FARNET_CONVS:
        return f"{_FARNET_CONVS[module]}.{parameter}"
    block, _, layer = module.rpartition(".")
    kind = re.fullmatch(r"(conv|norm)\d+_\d+", layer)
    if block not in _FARNET_BLOCKS or kind is None:
        raise ValueError(f"{name!r} is no parameter of the published FARNet")
    return f"{_FARNET_BLOCKS[block]}.{'conv' if kind[1] == 'conv' else 'bn'}.{parameter}"
