"""The plain detector: backbone, neck, head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


@MODELS.register_module()
class LandmarkDetector(BaseModel):
    """Detects the landmarks of one image by heatmaps.

    Args:
        backbone: Config of the backbone.
        head: Config of the head; its ``in_channels`` is taken from the backbone or neck when absent.
        neck: Config of the neck, or None.
        data_preprocessor: Config of the preprocessor.
        test_cfg: ``flip`` (bool): average with the maps of the mirrored image, which makes the result
            exactly equivariant to a mirror; ``keep_heatmaps`` (bool): return the maps as well.
        init_cfg: See MMEngine.
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
        # Built here, since MMEngine would look it up in its root registry.
        super().__init__(MODELS.build(data_preprocessor or dict(type="LandmarkDataPreprocessor")), init_cfg)
        unknown = set(test_cfg or {}) - {"flip", "keep_heatmaps"}
        if unknown:
            raise ValueError(f"test_cfg has unknown keys {sorted(unknown)}; known are flip, keep_heatmaps")
        self.test_cfg = {"flip": False, "keep_heatmaps": False, **(test_cfg or {})}
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        source = self.neck if self.neck is not None else self.backbone
        head = dict(head)
        head.setdefault("in_channels", list(source.out_channels))
        self.head = MODELS.build(head)
        if getattr(self.data_preprocessor, "channels_last", False):
            self.to(memory_format=torch.channels_last)

    def extract_features(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the features the head works on, from (B, C, *S) images."""
        features = self.backbone(inputs)
        return features if self.neck is None else self.neck(features)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None, mode: str = "tensor"
    ) -> dict | list | Tensor:
        """Run the model.

        Args:
            inputs: (B, C, *S) preprocessed images.
            data_samples: B samples; needed for ``loss``, optional for ``predict``.
            mode: ``loss`` returns a dict of losses, ``predict`` the samples with predictions filled in,
                ``tensor`` the raw maps (B, K, *S).
        """
        if mode == "loss":
            return self.head.loss(self.extract_features(inputs), data_samples, inputs.shape[2:])
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.head(self.extract_features(inputs))[0]
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def heatmaps(self, inputs: Tensor, flip_permutation: Sequence[int] | None = None) -> Tensor:
        """Return activated maps (B, K, *S); with a permutation, averaged with those of the mirrored image."""
        maps = self.head.codec.activate(self.head(self.extract_features(inputs))[0])
        if flip_permutation is None:
            return maps
        mirrored = self.head.codec.activate(self.head(self.extract_features(inputs.flip(-1)))[0])
        return (maps + mirrored.flip(-1)[:, list(flip_permutation)]) / 2

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill ``pred_landmarks`` (original pixels) and ``pred_scores`` into every sample."""
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            data_samples = [
                LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=size, input_shape=size))
                for i in range(len(inputs))
            ]
        permutation = self._flip_permutation(data_samples) if self.test_cfg["flip"] else None
        maps = self.heatmaps(inputs, permutation)
        points, scores = self.head.predict(maps, inputs.shape[2:])
        for i, sample in enumerate(data_samples):
            own = points[i].cpu()
            sample.pred_landmarks = sample.to_original(own) if "input_from_original" in sample else own
            sample.pred_scores = scores[i].cpu()
            if self.test_cfg["keep_heatmaps"]:
                sample.pred_heatmaps = maps[i].cpu()
        return list(data_samples)

    def _flip_permutation(self, samples: Sequence[LandmarkDataSample]) -> list[int]:
        pairs = samples[0].get("flip_pairs") or ()
        count = self.head.num_landmarks
        if not pairs and count > 1:
            raise ValueError(
                "test_cfg.flip needs flip_pairs in the dataset's landmark schema: without them a mirrored "
                "image shows every landmark on the wrong side"
            )
        order = list(range(count))
        for a, b in pairs:
            order[a], order[b] = b, a
        return order
