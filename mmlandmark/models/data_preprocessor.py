"""The last step before the network: stack, normalise and pad a batch on its device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmlandmark.registry import MODELS

# By the number of dimensions of images and kernels.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@MODELS.register_module()
class LandmarkDataPreprocessor(BaseDataPreprocessor):
    """Stack the images of a batch, convert them to the network's channels and normalise them.

    Images may be of 8 or 16 bits: they become floats, where black is 0 and white is 1, on the model's device.

    Args:
        mean: Per channel, where black is 0 and white is 1; one value serves all channels.
        std: Likewise.
        channels: Channels the network takes; a grey image is repeated to 3, a colour image is averaged
            to 1 with the luma weights of ITU-R BT.601. None leaves them as they are.
        size_divisor: Pad the end of each side to a multiple of this, with zeros after normalisation.
            Coordinates do not change.
        channels_last: Use the channels-last memory format, faster for convolutions on most machines.
        as_stored: Only stack the images, in the dtype that they are packed in: for a detector that makes
            floats of parts of them itself.
        non_blocking: Copy to the device asynchronously.

    Raises:
        ValueError: Images of one batch differ in shape, or channels cannot be converted.
    """

    def __init__(
        self,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        channels: int | None = None,
        size_divisor: int = 1,
        channels_last: bool = False,
        as_stored: bool = False,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        means, stds = ([v] if isinstance(v, int | float) else list(v) for v in (mean, std))
        if not all(value > 0 for value in stds):
            raise ValueError(f"std must be positive, got {stds}")
        self.register_buffer("mean", torch.tensor(means, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(stds, dtype=torch.float32), persistent=False)
        self.channels, self.size_divisor, self.channels_last = channels, size_divisor, channels_last
        self.as_stored = as_stored

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return ``dict(inputs=(B, C, *S), data_samples=list)`` on the model's device; inputs are float32."""
        data = self.cast_data(data)
        samples = data.get("data_samples")
        images = data["inputs"]
        if samples is not None and not self.as_stored:
            images = [sample.unit_pixels(image) for sample, image in zip(samples, images, strict=True)]
        if not isinstance(images, Tensor):
            shapes = {tuple(i.shape) for i in images}
            if len(shapes) > 1:
                raise ValueError(
                    f"images of one batch differ in shape: {sorted(shapes)}; end the geometry of the "
                    "pipeline with one fixed size, or use batch_size=1"
                )
            # One volume alone is not copied.
            images = torch.stack(list(images)) if len(images) > 1 else images[0][None]
        if not self.as_stored:
            images = self.pad(self.normalize(images))
        for sample in samples or ():
            sample.set_metainfo(dict(pad_shape=tuple(images.shape[2:])))
        if self.channels_last:
            images = images.contiguous(memory_format=CHANNELS_LAST[images.ndim])
        return dict(inputs=images, data_samples=samples)

    def pad(self, images: Tensor) -> Tensor:
        """Pad normalised (B, C, *S) images to multiples of ``size_divisor``."""
        pad = [0] * 2 * (images.ndim - 2)
        for axis, side in enumerate(images.shape[:1:-1]):
            pad[2 * axis + 1] = -side % self.size_divisor
        return F.pad(images, pad) if any(pad) else images

    def normalize(self, images: Tensor) -> Tensor:
        """Convert (B, C, *S) images to the network's channels and normalise them."""
        images = self.to_channels(images.float())
        shape = (1, -1, *[1] * (images.ndim - 2))
        return (images - self.mean.view(shape)) / self.std.view(shape)

    def to_channels(self, images: Tensor) -> Tensor:
        """Convert float (B, C, *S) images to the network's channels.

        Raises:
            ValueError: Channels cannot be converted.
        """
        have = images.shape[1]
        if self.channels is not None and have != self.channels:
            if have == 1:
                images = images.expand(-1, self.channels, *images.shape[2:])
            elif have == 3 and self.channels == 1:
                luma = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, *[1] * (images.ndim - 2))
                images = (images * luma).sum(1, keepdim=True)
            else:
                raise ValueError(f"the network takes {self.channels} channel(s), the image has {have}")
        return images
