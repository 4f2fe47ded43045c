"""Base of the backbones with published weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mmengine.logging import print_log
from mmengine.model import initialize
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.recompute import run
from mmlandmark.utils.checkpoint import check_state_dict, load_weights

# Weights from ImageNet that torchvision publishes, under https://download.pytorch.org/models/.
TORCHVISION_WEIGHTS = {
    "densenet121": "densenet121-a639ec97.pth",
    "densenet169": "densenet169-b2777c0a.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
}


class PretrainedBackbone(BaseModule):
    """A backbone with the parameter names of a published network, so that it can start from its weights.

    Args:
        in_channels: Of the image. For another number than 3 the published first convolution is summed over
            its colours and shared out evenly, which is exact for an image with the same value in every
            channel.
        out_indices: Levels to return, see the subclass.
        frozen_stages: Stages that are not trained: -1 for none, 0 for the stem, i for the stem and the
            first i stages.
        norm_eval: Keep batch norms at their stored statistics while training.
        with_checkpoint: Recompute stages in the backward pass instead of storing them.
        init_cfg: ``dict(type="Pretrained", checkpoint=...)`` with a file, a URL, ``torchvision://NAME`` for
            weights that torchvision publishes, or ``package://NAME`` for those in an installed package; a
            hash in the file's name is checked. Of a trained detector ``prefix="backbone."`` takes this part.
            None: random.

    Attributes:
        out_channels: Channels of the returned levels.
        strides: Input pixels per pixel of the returned levels.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` do not exist, or the weights are of another network.
    """

    dims = 2
    # Prefixes of published parameters that do not belong to the features.
    unused_prefixes: tuple[str, ...] = ()
    first_conv: str

    def __init__(
        self,
        levels: Sequence[tuple[int, int]],
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_checkpoint: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_indices = tuple(range(len(levels))) if out_indices is None else tuple(out_indices)
        if not self.out_indices or not all(0 <= i < len(levels) for i in self.out_indices):
            raise ValueError(
                f"out_indices of {type(self).__name__} must lie in 0..{len(levels) - 1}, got "
                f"{self.out_indices}"
            )
        self.out_channels = [levels[i][0] for i in self.out_indices]
        self.strides = [levels[i][1] for i in self.out_indices]
        self.in_channels, self.norm_eval, self.with_checkpoint = in_channels, norm_eval, with_checkpoint
        self.frozen_stages = frozen_stages

    @abstractmethod
    def stages(self) -> list[list[nn.Module]]:
        """Return the modules of the stem and of every stage, in order."""

    def rename(self, name: str) -> str:
        """Return our name of a published parameter."""
        return name

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under our names, for images as ours are: RGB."""
        return {self.rename(name): value for name, value in state.items()}

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights for this network: under our names, and for its number of channels."""
        state = {k: v for k, v in self.renamed(state).items() if not k.startswith(self.unused_prefixes)}
        kernel = state.get(self.first_conv)
        if kernel is not None and kernel.shape[1] != self.in_channels:
            shared = kernel.sum(1, keepdim=True) / self.in_channels
            state[self.first_conv] = shared.expand(-1, self.in_channels, -1, -1).clone()
        # The first published files are older than the counters of batch norm.
        state.update({k: v for k, v in self.state_dict().items() if k.endswith("num_batches_tracked")})
        return state

    def freeze(self) -> None:
        """Freeze stages and norms; a subclass calls this at the end of its constructor."""
        stages = self.stages()
        if not -1 <= self.frozen_stages < len(stages):
            raise ValueError(
                f"frozen_stages of {type(self).__name__} must lie in -1..{len(stages) - 1}, "
                f"got {self.frozen_stages}"
            )
        for stage in stages[: self.frozen_stages + 1]:
            for module in stage:
                module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> PretrainedBackbone:
        """Set the mode; frozen stages, and with ``norm_eval`` all batch norms, stay in that of the test."""
        super().train(mode)
        if mode:
            for stage in self.stages()[: self.frozen_stages + 1]:
                for module in stage:
                    module.eval()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self

    def run(self, module: nn.Module, features: Tensor) -> Tensor:
        """Return ``module(features)``, recomputed for the gradient where that is wanted."""
        return run(module, features, self.with_checkpoint and self.training)

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names, or log that the start is random."""
        given = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        published = [cfg for cfg in given if cfg["type"] == "Pretrained"]
        initialize(self, [cfg for cfg in given if cfg["type"] != "Pretrained"])
        for cfg in published:
            self.load_published(cfg["checkpoint"], cfg.get("prefix") or "")
        if not published:
            print_log(
                f"{type(self).__name__} starts from random weights: set backbone.init_cfg to start from "
                "published ones",
                logger="current",
            )
        self._is_init = True

    def load_published(self, source: str, prefix: str = "") -> None:
        """Load published weights; see ``init_cfg``."""
        name = str(source).removeprefix("torchvision://")
        if name != str(source):
            if name not in TORCHVISION_WEIGHTS:
                raise ValueError(
                    f"torchvision://{name} is not known; known: {', '.join(TORCHVISION_WEIGHTS)}"
                )
            source = f"https://download.pytorch.org/models/{TORCHVISION_WEIGHTS[name]}"
        state = self.fitted(load_weights(source, prefix))
        check_state_dict(self, state, f"init_cfg.checkpoint {source}")
        self.load_state_dict(state)
        print_log(f"{type(self).__name__} starts from {source}", logger="current")
