"""Networks that turn an image into features, one family per file."""

from mmlandmark.models.backbones.unet import UNet

__all__ = ["UNet"]
