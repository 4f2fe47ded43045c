"""Networks that turn an image into features, one family per file."""

from mmlandmark.models.backbones.additive_unet import AdditiveUNet
from mmlandmark.models.backbones.conv_stack import ConvStack
from mmlandmark.models.backbones.densenet import DenseNet
from mmlandmark.models.backbones.efficientnet_lite import EfficientNetLite
from mmlandmark.models.backbones.hourglass import Hourglass
from mmlandmark.models.backbones.hrnet import HRNet
from mmlandmark.models.backbones.pretrained_backbone import PretrainedBackbone
from mmlandmark.models.backbones.resnet import ResNet
from mmlandmark.models.backbones.unet import UNet
from mmlandmark.models.backbones.vgg import VGG
from mmlandmark.models.backbones.vision_transformer import VisionTransformer

__all__ = [
    "AdditiveUNet",
    "ConvStack",
    "DenseNet",
    "EfficientNetLite",
    "HRNet",
    "Hourglass",
    "PretrainedBackbone",
    "ResNet",
    "UNet",
    "VGG",
    "VisionTransformer",
]
