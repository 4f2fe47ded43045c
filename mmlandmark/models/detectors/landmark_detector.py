"""The plain detector: backbone, neck, head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.models.detectors.base_detector import BaseDetector, to_memory_format
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


@MODELS.register_module()
class LandmarkDetector(BaseDetector):
    """Detects the landmarks of one image by heatmaps.

    Args:
        backbone: Config of the backbone.
        head: Config of the head; its ``in_channels`` is taken from the backbone or neck when absent.
        neck: Config of the neck, or None; its ``in_channels`` is taken from the backbone when absent.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg``.
        test_cfg: ``flip``, ``views`` and ``keep_heatmaps``.
        init_cfg: See MMEngine.

    Raises:
        ValueError: ``in_channels`` is absent, and what comes before has no ``out_channels``.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(_behind(self.backbone, neck))
        self.head = MODELS.build(_behind(self.backbone if self.neck is None else self.neck, head))
        to_memory_format(self)

    def extract_features(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the features the head works on, from (B, C, *S) images."""
        features = self.backbone(inputs)
        features = features if self.neck is None else self.neck(features)
        return (*features, inputs) if self.head.takes_image else features

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the raw maps (B, R * K, *S) of the head's first level."""
        return self.head(self.extract_features(inputs), all_levels=False)[0]

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K, *S) that training makes: those of every supervised level."""
        return self.head(self.extract_features(inputs))

    def heatmaps(self, inputs: Tensor, flip_permutation: Sequence[int] | None = None) -> Tensor:
        """Return activated maps (B, R * K, *S), with a permutation averaged with the mirrored image's."""
        maps = self.head.codec.activate(self.raw_maps(inputs))
        if flip_permutation is None:
            return maps
        mirrored = self.head.codec.activate(self.raw_maps(inputs.flip(-1)))
        return (maps + mirrored.flip(-1)[:, list(flip_permutation)]) / 2

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the maps; see :meth:`BaseDetector.detect`."""
        maps = self.heatmaps(inputs, flip_permutation)
        return maps, *self.head.predict(maps, inputs.shape[2:])

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the head's losses."""
        return self.head.loss(self.extract_features(inputs), data_samples, inputs.shape[2:])


def _behind(source: nn.Module, part: dict) -> dict:
    """Return a part's config with the channels of what comes before it, unless it names them."""
    if "in_channels" in part:
        return part
    if not hasattr(source, "out_channels"):
        raise ValueError(
            f"{type(source).__name__} does not say its out_channels: give in_channels of {part.get('type')}"
        )
    return dict(part, in_channels=list(source.out_channels))
