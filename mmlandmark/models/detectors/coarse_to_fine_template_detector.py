"""A template's landmarks, found roughly in the whole image, then in patches of its full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors.base_detector import plain_config
from mmlandmark.models.detectors.coarse_to_fine_detector import CoarseToFineDetector, as_trained
from mmlandmark.models.detectors.patch_context import PatchContext
from mmlandmark.models.detectors.patches import cut_patches, frames_of, patch_corners, shrunk
from mmlandmark.models.detectors.template_detector import TemplateDetector
from mmlandmark.models.detectors.template_learner import TemplateLearner, shown_points
from mmlandmark.registry import MODELS
from mmlandmark.structures import (
    Detection,
    LandmarkDataSample,
    invert_matrix,
    resize_matrix,
    scale_matrix,
)
from mmlandmark.utils.run_inputs import RunInput


@MODELS.register_module()
class CoarseToFineTemplateDetector(TemplateLearner, CoarseToFineDetector):
    """Any detector finds landmarks roughly; features of patches and of the whole find them to the pixel.

    The fine stage of FM-OSD (Miao et al. 2024, *FM-OSD: Foundation Model-Enabled One-Shot Detection of
    Anatomical Landmarks*), and F2 of CC2D-SLA, where the coarse detector is another one. A pixel's features
    are those of its patch, at the full resolution, plus those of the whole image at a low one, both of length
    1; landmarks are where these are like the template's.

    Training takes whole annotated images, such as augmented templates. In a patch about every landmark its
    features have to be like those of other pixels the less, the farther these lie away: the losses of the
    fine head compare the cosines with the target of its codec.

    Only the fine detector learns, also its template, from ``TemplateHook``. The coarse one keeps the template
    that came with its weights.

    Args:
        coarse: See :class:`CoarseToFineDetector`.
        fine: Config of a :class:`TemplateDetector` of one level, without ``contrast``.
        context: Where features of the whole image come from: ``"coarse"``, a coarse ``TemplateDetector``, or
            the config of another one, whose ``init_cfg`` brings the trained weights. None leaves them out.
        context_size: (*S) of the input of a detector of its own for the context, to which an image is
            stretched.
        jitter: How far the landmark lies from the centre of a training patch along each axis, at most, as a
            fraction of half of the patch; by default 50 of 112 pixels.
        **kwargs: See :class:`CoarseToFineDetector`; patches lie as the image does.

    Raises:
        ValueError: The fine detector is no ``TemplateDetector`` of one level or has ``contrast``, features of
            patch and whole have different numbers of channels, a size or fraction is wrong or missing, or
            ``align`` or ``test_cfg.flip`` is given.
    """

    head_path = "fine.head"
    run_inputs = CoarseToFineDetector.run_inputs | {"context": RunInput("context.init_cfg.checkpoint")}
    fine: TemplateDetector

    def __init__(
        self,
        coarse: dict,
        fine: dict,
        context: dict | Literal["coarse"] | None = None,
        context_size: Sequence[int] | None = None,
        jitter: float = 50 / 112,
        **kwargs: Any,
    ) -> None:
        super().__init__(coarse, filled(MODELS, fine, template_view="patch"), **kwargs)
        self.context: TemplateDetector | None = None
        self.takes_context, self.trained_context = context is not None, True
        if isinstance(context, Mapping):
            self.context = MODELS.build(filled(MODELS, dict(context), dims=self.dims))
            self.context.requires_grad_(False)
            self.trained_context = context.get("init_cfg") is not None
        self.context_size = None if context_size is None else self._per_axis(context_size, "context_size")
        self.jitter = float(jitter)
        self._check_parts(context)

    def _check_parts(self, context: Any) -> None:
        fine: Any = self.fine
        if (
            not isinstance(fine, TemplateDetector)
            or fine.head.num_levels != 1
            or fine.contrast is not None
            or fine.template_view != "patch"
        ):
            raise ValueError(
                "the fine detector must be a TemplateDetector of one level, without contrast or template_view"
            )
        if self.alignment is not None or self.test_cfg["flip"]:
            raise ValueError(
                "CoarseToFineTemplateDetector compares patches as the template shows them: leave align and "
                "test_cfg.flip out"
            )
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), got {self.jitter}")
        if context is None:
            return
        if not isinstance(context, Mapping) and context != "coarse":
            raise ValueError(f"context must be 'coarse', a config or None, got {context!r}")
        if (self.context is None) == (self.context_size is not None):
            raise ValueError("context_size is for the config of a context, which needs it")
        part = self._context_part
        if not isinstance(part, TemplateDetector):
            raise ValueError(f"the context needs a TemplateDetector, got {type(part).__name__}")
        if part.takes_landmarks:
            raise ValueError(
                "the context needs one map of features, but its neck makes one per landmark: give context "
                "the config of another TemplateDetector"
            )
        widths = [len(one.head.templates[0][0, 0]) for one in (self.fine, part)]
        if widths[0] != widths[1]:
            raise ValueError(
                f"features of a patch have {widths[0]} channels, those of the whole {widths[1]}: their sum "
                "needs as many"
            )

    @property
    def _context_part(self) -> Any:
        """The detector whose features are the context."""
        return self.coarse if self.context is None else self.context

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with plain detectors."""
        plain = super().plain_config(config)
        own = config.get("context")
        return plain | dict(context=plain_config(own)) if isinstance(own, Mapping) else plain

    def check_run(self, run: Any) -> None:
        """Raise ValueError unless it gets templates and trained detectors for all but the fine one."""
        TemplateLearner.check_run(self, run)
        CoarseToFineDetector.check_run(self, run)
        if not self.trained_context and not run.config.get("load_from"):
            raise ValueError(
                "the context would stay untrained, since only the fine detector learns here: give it "
                "init_cfg=dict(type='Pretrained', checkpoint=...)"
            )

    def train(self, mode: bool = True) -> CoarseToFineTemplateDetector:
        """Set the mode of the fine detector; the others are always in test mode."""
        super().train(mode)
        if self.context is not None:
            self.context.eval()
        return self

    @torch.no_grad()
    def context_of(self, inputs: Tensor) -> PatchContext | None:
        """Return the features of whole images (B, C, *S), of the finest level."""
        if not self.takes_context:
            return None
        part = self._context_part
        scale, size = self._context_scale(inputs.shape[2:])
        seen = as_trained(part, self._unit_pixels(shrunk(inputs, scale, size)))
        level = part.extract_features(seen)[0]
        shrinking = invert_matrix(scale_matrix(scale[::-1], [-0.5] * self.dims))
        return PatchContext(level, resize_matrix(seen.shape[2:], level.shape[2:]) @ shrinking)

    def _context_scale(self, size: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return pixels of an image per pixel of the context's input, and the size of that, both (*S)."""
        if self.context_size is None:
            return self.coarse_scale(size)
        return tuple(n / m for n, m in zip(size, self.context_size, strict=True)), self.context_size

    def features_of(
        self, patches: Tensor, cases: Tensor, frames: Tensor, context: PatchContext | None
    ) -> list[Tensor]:
        """Return the features (n, C, *S) of pixels of patches, and the patches as the network sees them.

        Args:
            patches: (n, C, *S) floats, black is 0 and white is 1.
            cases: (n,) image that each is a part of.
            frames: (n, D+1, D+1) from pixels of a patch to those of its image.
            context: Features of the whole images.
        """
        level, seen = self.fine.extract_features(as_trained(self.fine, patches))
        if context is not None:
            whole = context.at(cases, frames, seen.shape[2:], level.shape[2:])
            level = F.normalize(level, dim=1) + F.normalize(whole, dim=1)
        return [level, seen]

    def detect_in_patches(
        self,
        patches: Tensor,
        cases: Tensor,
        frames: Tensor,
        context: PatchContext | None,
        flip_permutation: Sequence[int] | None,
        spread: bool,
    ) -> Detection:
        """Return where pixels are most like the template's landmarks; see :class:`CoarseToFineDetector`."""
        head = self.fine.head
        features = self.features_of(patches, cases, frames, context)
        maps = head.codec.activate(head(features, all_levels=False)[0])
        return head.predict(maps, features[-1].shape[2:], spread)

    def learn_template(
        self, index: int, inputs: Tensor, points: Tensor, shown: Tensor, sample: LandmarkDataSample
    ) -> None:
        """Keep the features of a patch about each landmark; see :class:`TemplateLearner`."""
        with self.cases([sample]):
            context, levels = self.context_of(inputs), []
            corners = patch_corners(points, self.patch_size, inputs.shape[2:])
            for some in corners.split(self.batch_size):
                cases = torch.zeros(len(some), dtype=torch.int64)
                level, seen = self.features_of(*self._cut(inputs, cases, some), context)
                levels.append(level)
        self.fine.head.learn(index, [torch.cat(levels)], (points - corners)[:, None], seen.shape[2:], shown)

    def _cut(self, inputs: Tensor, cases: Tensor, corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return patches (n, C, *S) as floats, the image of each, and its frame (n, D+1, D+1)."""
        patches = cut_patches(inputs, cases, corners, self.patch_size, self._black(inputs))
        return self._unit_pixels(patches, cases.tolist()), cases, frames_of(corners)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the losses of the fine head in a patch about each landmark of whole images (B, C, *S)."""
        head = self.fine.head
        known = [shown_points(sample, inputs.device) for sample in data_samples]
        points, shown = (torch.stack(parts) for parts in zip(*known, strict=True))
        offsets = (2 * torch.rand(points.shape, dtype=torch.float64) - 1).to(points.device) * self.jitter / 2
        offsets = offsets * torch.tensor(self.patch_size[::-1], device=points.device)
        corners = patch_corners(points + offsets, self.patch_size, inputs.shape[2:])
        cases = torch.arange(len(points)).repeat_interleave(points.shape[1])
        with self.cases(data_samples):
            context = self.context_of(inputs)
            level, seen = self.features_of(*self._cut(inputs, cases, corners.flatten(0, 1)), context)
        size, inside = tuple(seen.shape[2:]), (points - corners).float()
        maps = head.own_maps(level, inside.view(-1, 1, self.dims), size).view(*shown.shape, *size)
        weights = torch.stack([sample.gt_weights for sample in data_samples]).to(shown.device)
        target = head.codec.encode(inside, shown, weights, size, size)
        return {f"loss_{name}": loss(maps, target) for name, loss in head.losses.items()}
