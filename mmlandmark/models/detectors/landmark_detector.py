"""The plain detector: backbone, neck, head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmlandmark.models.assembly import build_part
from mmlandmark.models.detectors.base_detector import BaseDetector, to_memory_format
from mmlandmark.registry import MODELS
from mmlandmark.structures import Detection, LandmarkDataSample


@MODELS.register_module()
class LandmarkDetector(BaseDetector):
    """Detects the landmarks of one image by the maps of a head.

    Args:
        backbone: Config of the backbone.
        head: Config of the head; its ``in_channels`` is taken from the backbone or neck when absent.
        neck: Config of the neck, or None; its ``in_channels`` is taken from the backbone when absent.
        dims: Spatial dimensions of the images, 2 or 3: handed on to every part that takes ``dims``. None
            leaves it to the parts. A run fills it in from its data.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg``.
        test_cfg: ``flip``, ``views``, ``spread``, ``keep_heatmaps`` and ``shape_prior``.
        init_cfg: See MMEngine.

    Raises:
        ValueError: ``in_channels`` is absent, and what comes before has no ``out_channels``; or a part has
            other ``dims``; or ``test_cfg.flip`` is set and the codec's maps of mirrored images lie elsewhere.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | None = None,
        dims: int | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        self.dims = dims
        self.backbone = build_part(backbone, dims)
        self.neck = None if neck is None else build_part(neck, dims, self.backbone)
        self.head = build_part(head, dims, self.backbone if self.neck is None else self.neck)
        if self.test_cfg["flip"] and self.head.codec.not_mirrored:
            raise ValueError(f"{self.head.codec.not_mirrored}: leave test_cfg.flip out")
        self.add_shape_choice()
        to_memory_format(self)

    def extract_features(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the features the head works on, from (B, C, *S) images.

        Raises:
            ValueError: The images have another number of dimensions than the head's maps.
        """
        if inputs.ndim - 2 != self.head.dims:
            raise ValueError(
                f"the detector is for {self.head.dims}D images, got (B, C, *S) of {tuple(inputs.shape)}: set "
                f"model.dims={inputs.ndim - 2}"
            )
        return self.features_of(self.backbone(inputs), inputs)

    def features_of(self, levels: Sequence[Tensor], inputs: Tensor) -> Sequence[Tensor]:
        """Return the features the head works on, from what the backbone has made of (B, C, *S) images."""
        features = levels
        if self.neck is not None:
            takes_image = getattr(self.neck, "takes_image", False)
            features = self.neck((*levels, inputs) if takes_image else levels)
        return (*features, inputs) if self.head.takes_image else features

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the raw maps (B, R * K * M, *S) of the head's first level."""
        return self.head(self.extract_features(inputs), all_levels=False)[0]

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return the raw maps (B, R * K * M, *S) of every supervised level."""
        return self.head(self.extract_features(inputs))

    def heatmaps(self, inputs: Tensor, flip_permutation: Sequence[int] | None = None) -> Tensor:
        """Return activated maps (B, R * K * M, *S); with a permutation, averaged with the mirror image's."""
        codec = self.head.codec
        maps = codec.activate(self.raw_maps(inputs))
        if flip_permutation is None:
            return maps
        mirrored = codec.activate(self.raw_maps(inputs.flip(-1)))
        return (maps + codec.mirrored(mirrored, flip_permutation)) / 2

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None, spread: bool = False
    ) -> Detection:
        """Decode the maps; see :meth:`BaseDetector.detect`."""
        return self.head.predict(self.heatmaps(inputs, flip_permutation), inputs.shape[2:], spread)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the head's losses."""
        return self.head.loss(self.extract_features(inputs), data_samples, inputs.shape[2:])
