"""What all detectors share: their modes, and the way from maps to landmarks of the original image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmlandmark.models.data_preprocessor import CHANNELS_LAST
from mmlandmark.models.detectors.augmented_views import checked_views, view_matrix, view_of
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample, apply_matrix, invert_matrix
from mmlandmark.utils.safe_loading import safe_loading


class BaseDetector(BaseModel):
    """A detector by heatmaps; a subclass says where the maps and the losses come from.

    Args:
        data_preprocessor: Config of the preprocessor.
        test_cfg: ``flip`` (bool): average with the maps of the mirrored image, which makes the result
            exactly equivariant to a mirror; ``views`` (list of dict): the mean of what is found in the image
            ``rotation`` degrees turned and ``scale`` times as large, ``dict()`` being the image as it is;
            ``keep_heatmaps`` (bool): return the maps as well, those of the first view; ``batch_statistics``
            (bool): let batch norms use the statistics of the batch they see, as the published code of FARNet
            does at the test; only for reproducing published numbers, since a result then depends on its
            batch.
        init_cfg: See MMEngine.

    Attributes:
        training_parts: Names of children that only training uses. Checkpoints keep their weights apart.
    """

    head: BaseHeatmapHead
    training_parts: tuple[str, ...] = ()
    init_weights = safe_loading(BaseModel.init_weights)

    def __init__(
        self,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        # Built here, since MMEngine would look it up in its root registry.
        super().__init__(MODELS.build(data_preprocessor or dict(type="LandmarkDataPreprocessor")), init_cfg)
        self.test_cfg = {"flip": False, "views": None, "keep_heatmaps": False, "batch_statistics": False}
        unknown = set(test_cfg or {}) - set(self.test_cfg)
        if unknown:
            raise ValueError(
                f"test_cfg has unknown keys {sorted(unknown)}; known are {', '.join(self.test_cfg)}"
            )
        self.test_cfg.update(test_cfg or {})
        checked_views(self.test_cfg["views"])

    def train(self, mode: bool = True) -> BaseDetector:
        """Set the mode of training or of the test."""
        super().train(mode)
        if self.test_cfg["batch_statistics"]:
            for module in self.modules():
                if isinstance(module, _BatchNorm):  # What is frozen in training stays so.
                    module.training, module.track_running_stats = module.training or not mode, mode
        return self

    @abstractmethod
    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the raw maps (B, R * K, *S) of (B, C, *S) images, one annotator after the other."""

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K, *S) that training makes; those of the test by default."""
        return [self.raw_maps(inputs)]

    @abstractmethod
    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Find the landmarks, with a permutation from the image and its mirror image.

        Args:
            inputs: (B, C, *S) preprocessed images.
            flip_permutation: The channel of every channel's landmark in a mirrored image.

        Returns:
            Activated maps (B, R * K, *S), points (B, R, K, D) in input pixels, and scores (B, R, K); R is 1
            where the annotators are one already.
        """

    @abstractmethod
    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the losses by name."""

    def forward(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None, mode: str = "tensor"
    ) -> dict | list | Tensor:
        """Run the model.

        Args:
            inputs: (B, C, *S) preprocessed images.
            data_samples: B samples; needed for ``loss``, optional for ``predict``.
            mode: ``loss`` returns a dict of losses, ``predict`` the samples with predictions filled in,
                ``tensor`` the raw maps (B, R * K, *S).
        """
        if mode == "loss":
            return self.loss(inputs, data_samples)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.raw_maps(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill ``pred_landmarks`` (original pixels) and ``pred_scores`` into every sample.

        With several annotators these are their mean and lowest score; ``pred_by_annotator`` is filled too.
        A landmark that one view, ensemble member or annotator misses is not predicted: its point
        is NaN and its score 0.
        """
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            data_samples = [
                LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=size, input_shape=size))
                for i in range(len(inputs))
            ]
        permutation = self._flip_permutation(data_samples) if self.test_cfg["flip"] else None
        maps, points, scores = self._detect_in_views(inputs, permutation)
        annotators = points.shape[1]
        for i, sample in enumerate(data_samples):
            own = points[i].cpu()
            by_annotator = sample.to_original(own) if "input_from_original" in sample else own
            sample.pred_landmarks = by_annotator.mean(0)
            found = torch.isfinite(sample.pred_landmarks).all(-1)
            sample.pred_scores = torch.where(found, scores[i].amin(0).cpu(), 0)
            if annotators > 1:
                sample.pred_by_annotator = by_annotator
            if self.test_cfg["keep_heatmaps"]:
                sample.pred_heatmaps = maps[i].unflatten(0, (-1, self.head.num_landmarks)).mean(0).cpu()
        return list(data_samples)

    def _detect_in_views(
        self, inputs: Tensor, permutation: Sequence[int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first view's maps, and the mean points and scores of all, in input pixels."""
        found = []
        for view in checked_views(self.test_cfg["views"]):
            matrix = view_matrix(view, inputs.shape[2:])
            if matrix is None:
                found.append(self.detect(inputs, permutation))
                continue
            maps, points, scores = self.detect(view_of(inputs, matrix), permutation)
            found.append((maps, apply_matrix(invert_matrix(matrix), points), scores))
        maps, points, scores = zip(*found, strict=True)
        return maps[0], torch.stack(points).mean(0), torch.stack(scores).mean(0)

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
        return [annotator * count + k for annotator in range(self.head.num_annotators) for k in order]


def to_memory_format(model: BaseDetector) -> None:
    """Bring the weights into the memory format that the preprocessor gives its images."""
    if getattr(model.data_preprocessor, "channels_last", False):
        for parameter in model.parameters():
            if parameter.ndim in CHANNELS_LAST:
                parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
