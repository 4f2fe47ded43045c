"""Detectors that need an annotated image or a few, and may learn from images without annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.detectors.patches import cut_patches, patch_corners
from mmlandmark.models.detectors.random_patches import RandomPatches
from mmlandmark.models.detectors.template_learner import TemplateLearner
from mmlandmark.models.heads import TemplateHead
from mmlandmark.models.similarity import PatchPair
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample


@MODELS.register_module()
class TemplateDetector(TemplateLearner, LandmarkDetector):
    """Finds landmarks where an image is like an annotated one, the template.

    It is trained without annotation: the embedding of a point in a patch, which is turned and of another
    intensity, has to be like that of the same point in the image, and unlike all others (CC2D-SSL, Yao et al.
    2021, *One-Shot Medical Landmark Detection*). Image and patch go through one network. ``TemplateHook``
    encodes the templates, whose features are kept with the weights: prediction needs no template.

    With ``patches=dict(around="landmarks")`` the points are landmarks, such as pseudo labels (CC2D-SLA).
    Without ``contrast`` the maps are compared with annotated landmarks by the losses of the head.

    A neck with parts of single landmarks, such as :class:`~mmlandmark.models.necks.AdapterDecoder`, is told
    which landmark the point is, and what it makes for each landmark is compared with that of the template.

    Args:
        contrast: Config of a loss of a :class:`~mmlandmark.models.similarity.PatchPair`.
        patches: Arguments of :class:`~mmlandmark.models.detectors.random_patches.RandomPatches`.
        template_view: Where features of a landmark come from: the whole template, or a ``patch`` about the
            landmark, of the size of the patches.
        **kwargs: See :class:`LandmarkDetector`; the head is a
            :class:`~mmlandmark.models.heads.TemplateHead`.

    Raises:
        ValueError: The head has no templates, ``template_view`` is unknown, or a neck with parts of single
            landmarks has others than the head, is to learn from random points, or stands before a head that
            compares features of an image.
    """

    head: TemplateHead

    def __init__(
        self,
        contrast: dict | None = None,
        patches: dict | None = None,
        template_view: Literal["image", "patch"] = "image",
        **kwargs: Any,
    ) -> None:
        if kwargs.get("neck") is not None:
            count = kwargs["head"].get("num_landmarks")
            kwargs["neck"] = filled(MODELS, kwargs["neck"], num_landmarks=count)
        kwargs["head"] = filled(MODELS, kwargs["head"], template_view=template_view)
        super().__init__(**kwargs)
        if not isinstance(self.head, TemplateHead):
            raise ValueError(f"TemplateDetector needs a TemplateHead, got {type(self.head).__name__}")
        if template_view not in ("image", "patch"):
            raise ValueError(f"template_view must be 'image' or 'patch', got {template_view!r}")
        self.contrast = None if contrast is None else MODELS.build(contrast)
        self.patches, self.template_view = RandomPatches(**(patches or {})), template_view
        self._check_neck()

    @property
    def takes_landmarks(self) -> bool:
        """Whether the neck has parts of single landmarks."""
        return getattr(self.neck, "takes_landmarks", False)

    @property
    def leaves_parameters_out(self) -> bool:
        """Whether a step trains the parts of some landmarks only: those that its patches are about."""
        return self.takes_landmarks and self.contrast is not None

    @property
    def any_landmarks(self) -> bool:
        """Whether its weights serve any landmarks that a template shows, whatever it was trained with."""
        return not self.takes_landmarks

    def _check_neck(self) -> None:
        if not self.takes_landmarks:
            return
        own, count = getattr(self.neck, "num_landmarks", None), self.head.num_landmarks
        if own != count:
            raise ValueError(f"neck.num_landmarks is {own}, head.num_landmarks {count}: leave the former out")
        if self.head.matching is not None or self.head.anchors == "image":
            raise ValueError(
                f"{type(self.neck).__name__} makes features of every landmark: head.matching and "
                "head.anchors='image' compare features of an image"
            )
        if self.contrast is not None and self.patches.around != "landmarks":
            raise ValueError(
                f"{type(self.neck).__name__} learns from landmarks, not from random points: set "
                "model.patches=dict(around='landmarks')"
            )

    @property
    def learns_from_templates(self) -> bool:
        """Whether the maps that its losses compare are made by the templates."""
        return self.contrast is None and self.head.anchors == "template"

    def check_run(self, run: Any) -> None:
        """Raise ValueError unless there is one kind of loss, and see :meth:`TemplateLearner.check_run`."""
        super().check_run(run)
        if (self.contrast is None) == (not len(self.head.losses)):
            raise ValueError(
                "TemplateDetector learns by contrast or by the losses of its head: set either model.contrast "
                "or model.head.loss"
            )

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config without loss and patches."""
        if cls is not TemplateDetector:
            return config
        return {key: value for key, value in config.items() if key not in ("contrast", "patches")}

    @property
    def needs_annotation(self) -> bool:
        """Whether it learns from landmarks, annotated or pseudo labels."""
        return self.contrast is None or self.patches.around == "landmarks"

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the contrast between images and patches of them; without ``contrast`` the head's losses."""
        if self.contrast is None:
            return super().loss(inputs, data_samples)
        return dict(loss_contrast=self.contrast(self.paired(inputs, data_samples)))

    def paired(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] = ()) -> PatchPair:
        """Return the embeddings of images (B, C, *S), and of a random patch of each, or of two patches."""
        if self.patches.views == 2:
            return self._two_patches(inputs)
        own = self.takes_landmarks
        # Which landmarks is known with the patches, whose size is that of whole pixels of the levels.
        levels = self.backbone(inputs) if own else self._levels(inputs)
        size = self.patches.size_of(inputs.shape[2:], [level.shape[2:] for level in levels])
        patches = self.patches(inputs, size, data_samples)
        landmarks = patches.landmarks if own else None
        return PatchPair(
            features=self.neck(levels, landmarks) if self.neck is not None and own else levels,
            patch_features=self._levels(patches.images, landmarks),
            points=patches.points,
            patch_points=patches.patch_points,
            mask=patches.mask,
            size=tuple(inputs.shape[2:]),
            patch_size=size,
            weights=patches.weights,
        )

    def _two_patches(self, inputs: Tensor) -> PatchPair:
        """Return the embeddings of two patches of every image, the first in place of the image."""
        first, second = self.patches.pair(inputs)
        size = tuple(first.images.shape[2:])
        levels = self._levels(first.images)
        self.patches.size_of(
            size, [level.shape[2:] for level in levels]
        )  # a side that does not fit is refused
        return PatchPair(
            features=levels,
            patch_features=self._levels(second.images),
            points=first.patch_points,
            patch_points=second.patch_points,
            mask=first.mask & second.mask,
            size=size,
            patch_size=size,
        )

    def _levels(self, inputs: Tensor, landmarks: Tensor | None = None) -> Sequence[Tensor]:
        """Return the features without the image behind them, for a neck that takes them of (B,) landmarks."""
        if self.neck is None or landmarks is None:
            return self.extract_features(inputs)[:-1]
        return self.neck(self.backbone(inputs), landmarks)

    def learn_template(
        self, index: int, inputs: Tensor, points: Tensor, shown: Tensor, sample: LandmarkDataSample
    ) -> None:
        """Keep the features of one template; see :meth:`TemplateLearner.learn_template`."""
        levels, whole = self._levels(inputs), tuple(inputs.shape[2:])
        if self.template_view == "image":
            self.head.learn(index, levels, points[None], whole, shown)
            return
        sides = [level.shape[-self.head.dims :] for level in levels]
        size = self.patches.size_of(whole, sides)
        corners = patch_corners(points, size, whole)
        cases = torch.zeros(len(points), dtype=torch.int64)
        seen = cut_patches(inputs, cases, corners, size, [float(inputs.min())])
        landmarks = torch.arange(len(points)) if self.takes_landmarks else None
        self.head.learn(index, self._levels(seen, landmarks), (points - corners)[:, None], size, shown)
