"""Residual blocks of ResNet and HRNet."""

from __future__ import annotations

from torch import Tensor, nn


def _shortcut(channels: int, channels_out: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a shortcut, or None if the shape does not change."""
    if stride == 1 and channels == channels_out:
        return None
    return nn.Sequential(
        nn.Conv2d(channels, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, width, H / stride, W / stride) from (B, channels, H, W)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(residual + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the 3x3 has the stride, as in torchvision."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, 4 * width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 4 * width, H / stride, W / stride) from (B, channels, H, W)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(residual)))))
        return self.relu(residual + shortcut)


def start_residual(network: nn.Module) -> None:
    """Initialise every convolution as in He et al. 2015, by fan-out."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
