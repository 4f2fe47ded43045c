"""The whole image at a low resolution, then a patch about every landmark at the full one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors.base_detector import BaseDetector, plain_config, settings_of_its_own
from mmlandmark.models.detectors.patch_context import PatchContext
from mmlandmark.models.detectors.patches import (
    cut_patches,
    frames_of,
    patch_corners,
    sample_patches,
    shrunk,
)
from mmlandmark.models.detectors.pose_alignment import PoseAlignment
from mmlandmark.models.detectors.shape_choice import steps_to_shape
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.shape import TypicalShape
from mmlandmark.structures import Detection, LandmarkDataSample, scale_matrix
from mmlandmark.utils.dataset_tree import leaf_configs
from mmlandmark.utils.run_inputs import RunInput

_PRESENT = 0.5  # below, the coarse detector says that a landmark is not in the image


@MODELS.register_module()
class CoarseToFineDetector(BaseDetector):
    """Two detectors in one model: one finds all landmarks roughly, one each in a patch about that place.

    Full-resolution maps exist of a few patches at a time only, so a volume needs hardly more memory than its
    voxels. The input is the image at the full resolution. The coarse detector sees it shrunk by the mean over
    areas; the fine one sees patches of it, each of which is decoded for its own landmark. Score, spread and
    presence are those of the fine detector. A landmark that the coarse one does not find, or whose presence
    it gives as less than 0.5, is not predicted.

    Patches are cut without resampling, or, with ``align``, in the pose of a typical shape, which is fitted to
    the coarse landmarks: however a case is turned and whatever its size, the fine detector sees a landmark
    from the same side. Coarse landmarks that disagree with the others, up to half of them, count neither for
    the pose nor as the place of their patch.

    The two are trained one after the other, as stages of one config: first the coarse detector by itself,
    then this model, where the fine one learns and the coarse one is frozen. Training images are patches of
    the full resolution, from ``RandomPatch``, with ``align`` after ``AlignToTypicalShape``; those of a
    validation or test are whole.

    Args:
        coarse: Config of the coarse detector. Its ``init_cfg`` brings the trained weights, as in
            ``dict(type="Pretrained", checkpoint="run:coarse:best")``.
        fine: Config of the fine detector, of the same landmarks.
        patch_size: (*S) pixels of a patch, or one number for all axes.
        coarse_size: (*S) of the coarse detector's input; every image is stretched to it, as by ``Resize``.
        shrink: In place of ``coarse_size``: how many pixels of the image become one of the coarse detector's,
            one number or one per axis, (x, y[, z]): the ratio of the two spacings.
        batch_size: Patches that the fine detector sees at once.
        align: ``dict(pixel=...)``: cut patches in the pose of the typical shape, with pixels of this length,
            see :class:`~mmlandmark.models.detectors.PoseAlignment`. None cuts them as the image lies.
        dims: Of both detectors, see :class:`LandmarkDetector`.
        data_preprocessor: Of the whole image. By default its pixels stay as they are stored, since floats are
            needed of patches only, and each detector normalises by its own preprocessor.
        test_cfg: ``flip``, ``views``, ``spread`` and ``keep_heatmaps``, see :class:`BaseDetector`; heatmaps
            are those of the coarse detector. Those of the two detectors have no effect.
        init_cfg: See MMEngine.

    Raises:
        ValueError: The detectors differ in their landmarks, not exactly one of ``coarse_size`` and ``shrink``
            is given, a number is not positive, or ``test_cfg`` has a prior of shapes; or a detector sets
            something in its own ``test_cfg`` that the whole does not.
    """

    run_inputs = {"coarse": RunInput("coarse.init_cfg.checkpoint")}
    not_exportable = "which patches its fine detector sees depends on what the coarse one finds"

    def __init__(
        self,
        coarse: dict,
        fine: dict,
        patch_size: int | Sequence[int],
        coarse_size: Sequence[int] | None = None,
        shrink: float | Sequence[float] | None = None,
        batch_size: int = 4,
        align: dict | None = None,
        dims: int | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        whole = dict(type="LandmarkDataPreprocessor", as_stored=True)
        super().__init__(data_preprocessor or whole, test_cfg, init_cfg)
        if dims is None and not isinstance(patch_size, int):
            dims = len(patch_size)
        self.coarse: BaseDetector = MODELS.build(filled(MODELS, coarse, dims=dims))
        self.fine: BaseDetector = MODELS.build(filled(MODELS, fine, dims=dims))
        self.coarse.requires_grad_(False)
        counts = [part.head.num_landmarks for part in self.members]
        if counts[0] != counts[1]:
            raise ValueError(f"the coarse detector finds {counts[0]} landmarks, the fine one {counts[1]}")
        self.dims = self.head.dims if dims is None else dims
        if (coarse_size is None) == (shrink is None):
            raise ValueError(
                "CoarseToFineDetector needs either coarse_size, the size of the coarse detector's input, or "
                "shrink, how many pixels become one of it"
            )
        self.patch_size = self._per_axis(patch_size, "patch_size")
        self.coarse_size = None if coarse_size is None else self._per_axis(coarse_size, "coarse_size")
        self.shrink = None if shrink is None else self._per_axis(shrink, "shrink")[::-1]
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if self.test_cfg["shape_prior"] is not None:
            raise ValueError("CoarseToFineDetector has no choice by shape: leave test_cfg.shape_prior out")
        for name in ("coarse", "fine"):
            if own := settings_of_its_own(getattr(self, name).test_cfg, self.test_cfg):
                raise ValueError(f"{name}.test_cfg has {own}, without effect: set it for the whole model")
        self.batch_size, self.trained_coarse = batch_size, coarse.get("init_cfg") is not None
        self.alignment = None if align is None else PoseAlignment(counts[0], self.dims, **align)
        self._samples: Sequence[LandmarkDataSample] | None = None

    def _per_axis(self, values: Any, name: str) -> tuple:
        """Return D positive numbers."""
        values = [values] * self.dims if isinstance(values, int | float) else list(values)
        if len(values) != self.dims or not all(value > 0 for value in values):
            raise ValueError(f"{name} must be {self.dims} positive numbers, got {values}")
        return tuple(values)

    @property
    def head(self) -> BaseHeatmapHead:  # type: ignore[override]
        """The fine detector's head."""
        return self.fine.head

    @property
    def members(self) -> tuple[BaseDetector, BaseDetector]:
        """The coarse and the fine detector."""
        return self.coarse, self.fine

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with plain detectors."""
        return config | {part: plain_config(config[part]) for part in ("coarse", "fine")}

    def check_run(self, run: Any) -> None:
        """Raise ValueError unless the coarse detector is trained, see :mod:`mmlandmark.engine.run_checks`."""
        if not self.trained_coarse and not run.config.get("load_from"):
            raise ValueError(
                "the coarse detector would stay untrained, since only the fine one learns here: train it in "
                "a stage before, and give it init_cfg=dict(type='Pretrained', checkpoint='run:coarse:best')"
            )
        if self.alignment is not None and not run.provides("shapes"):
            raise ValueError(
                "align needs the typical shape of the training data: add dict(type='ShapePriorHook') to "
                "custom_hooks"
            )
        self._check_pixels(run.config.get("train_dataloader"))

    def _check_pixels(self, loader: Mapping[str, Any] | None) -> None:
        """Raise ValueError unless the patches of the training have the pose and the pixels of the test's."""
        own = None if self.alignment is None else self.alignment.pixel
        for dataset in leaf_configs(loader["dataset"]) if loader else ():
            steps = [step for step in dataset.get("pipeline") or () if isinstance(step, Mapping)]
            aligned = [step for step in steps if _name(step["type"]) == "AlignToTypicalShape"]
            trained = float(aligned[-1]["pixel"]) if aligned else None
            if trained != own:
                raise ValueError(
                    f"align has pixel {own}, AlignToTypicalShape in the pipeline of the training has "
                    f"{trained}, where None is that it is missing: both need the same"
                )

    def train(self, mode: bool = True) -> CoarseToFineDetector:
        """Set the mode of the fine detector; the coarse one is always in test mode."""
        super().train(mode)
        self.coarse.eval()
        return self

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the fine detector's raw maps (B, R * K * M, *S) of images that count as patches."""
        return self.fine.raw_maps(as_trained(self.fine, inputs))

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return the fine detector's raw maps (B, R * K * M, *S) of a training step."""
        return self.fine.training_maps(as_trained(self.fine, inputs))

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the losses of the fine detector on a batch of patches."""
        with self.cases(data_samples):
            return self.fine.loss(as_trained(self.fine, self._unit_pixels(inputs)), data_samples)

    @contextmanager
    def cases(self, samples: Sequence[LandmarkDataSample] | None) -> Iterator[None]:
        """Remember which cases images belong to, see :meth:`BaseDetector.cases`."""
        self._samples = samples
        try:
            yield
        finally:
            self._samples = None

    @property
    def _stored(self) -> Sequence[LandmarkDataSample] | None:
        """The cases of images whose pixels are as stored."""
        return self._samples if getattr(self.data_preprocessor, "as_stored", False) else None

    def _unit_pixels(self, images: Tensor, cases: Sequence[int] | None = None) -> Tensor:
        """Return images or parts of images of some cases as floats, where black is 0 and white is 1."""
        if self._stored is None:
            return images
        own = self._stored if cases is None else [self._stored[case] for case in cases]
        return torch.stack([s.unit_pixels(image) for s, image in zip(own, images, strict=True)])

    def _black(self, images: Tensor) -> list[float]:
        """Return the value of black (B,) in images."""
        if self._stored is None:
            return [0.0] * len(images)
        return [(sample.get("value_range") or (0.0,))[0] for sample in self._stored]

    def windowed_parts(self) -> list[BaseDetector]:
        """Raise ValueError: it sees patches already."""
        raise ValueError(
            "CoarseToFineDetector sees the image at a low resolution, then patches: leave window out"
        )

    def coarse_scale(self, size: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return the pixels of an image per pixel of the coarse input, and the size of that, both (*S)."""
        if self.coarse_size is not None:
            return tuple(n / m for n, m in zip(size, self.coarse_size, strict=True)), self.coarse_size
        assert self.shrink is not None
        return self.shrink, tuple(max(1, round(n / s)) for n, s in zip(size, self.shrink, strict=True))

    def detect_coarse(self, inputs: Tensor, flip_permutation: Sequence[int] | None = None) -> Detection:
        """Return the answer of the coarse detector (B, R, K) in pixels of the image, with its maps."""
        scale, size = self.coarse_scale(inputs.shape[2:])
        seen = as_trained(self.coarse, self._unit_pixels(shrunk(inputs, scale, size)))
        found = self.coarse.detect(seen, self._permutation_of(self.coarse, flip_permutation))
        return found.mapped(scale_matrix(scale[::-1], [-0.5] * len(scale)))

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None, spread: bool = False
    ) -> Detection:
        """Detect the landmarks in patches about where the coarse detector finds them.

        See :meth:`BaseDetector.detect`; maps are those of the coarse detector.
        """
        coarse = self.detect_coarse(inputs, flip_permutation)
        rough = coarse.over_annotators()
        wanted = torch.isfinite(rough.points).all(-1)
        if rough.presence is not None:
            wanted &= rough.presence >= _PRESENT
        permutation = self._permutation_of(self.fine, flip_permutation)
        whole, context = None, self.context_of(inputs)
        for places, frames, patches in self._patches(inputs, rough.points, wanted):
            case, landmark = places.unbind(-1)
            seen = self._unit_pixels(patches, case.tolist())
            found = self.detect_in_patches(seen, case, frames, context, permutation, spread).mapped(frames)
            whole = _nothing(found, rough) if whole is None else whole
            for mine, other in zip(_values(whole), _values(found), strict=True):
                if mine is not None and other is not None:
                    # (n, R, K, ...) of n patches: the landmark of each.
                    own = other[torch.arange(len(places), device=case.device), :, landmark]
                    mine[case, :, landmark] = own.to(mine.dtype)
        if whole is None:  # not one landmark: an empty patch says what there would be
            empty = rough.scores.new_zeros(1, inputs.shape[1], *self.patch_size)
            whole = _nothing(self.fine.detect(as_trained(self.fine, empty), permutation, spread), rough)
        return replace(whole, maps=coarse.maps)

    def context_of(self, inputs: Tensor) -> PatchContext | None:
        """Return what the fine detector is told of whole images (B, C, *S); nothing by default."""
        return None

    def detect_in_patches(
        self,
        patches: Tensor,
        cases: Tensor,
        frames: Tensor,
        context: PatchContext | None,
        flip_permutation: Sequence[int] | None,
        spread: bool,
    ) -> Detection:
        """Return the answer of the fine detector (n, R, K) in pixels of patches.

        Args:
            patches: (n, C, *S) floats.
            cases: (n,) image that each is a part of.
            frames: (n, D+1, D+1) from pixels of a patch to those of its image.
            context: See :meth:`context_of`.
            flip_permutation: See :meth:`BaseDetector.detect`, likewise ``spread``.
        """
        return self.fine.detect(as_trained(self.fine, patches), flip_permutation, spread)

    def _patches(
        self, inputs: Tensor, centers: Tensor, wanted: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield some patches at a time: (n, 2) which case and landmark, (n, D+1, D+1) frames, (n, C, *S).

        A frame is the matrix from pixels of a patch to those of its image.

        Args:
            inputs: (B, C, *S) images.
            centers: (B, K, D) coarse landmarks.
            wanted: (B, K) bool: landmarks that the coarse detector finds.
        """
        black, aligned = self._black(inputs), None
        if self.alignment is not None:
            samples = self._samples or [LandmarkDataSample()] * len(inputs)
            steps = steps_to_shape(samples, bool(self.alignment.millimetres), self.dims)
            known = torch.where(wanted[..., None], centers, torch.nan).double().cpu().numpy()
            frames, seen = self.alignment.patch_frames(known, steps, self.patch_size)
            wanted, aligned = torch.from_numpy(seen).to(wanted.device), torch.from_numpy(frames)
        corners = patch_corners(centers.nan_to_num(), self.patch_size, inputs.shape[2:])
        for places in wanted.nonzero().split(self.batch_size):
            if len(places) == 0:  # nothing is split into one part of nothing
                return
            case, landmark = places.unbind(-1)
            if aligned is not None:
                own = aligned[case.cpu(), landmark.cpu()]
                yield places, own, sample_patches(inputs, case.tolist(), own.numpy(), self.patch_size, black)
                continue
            first = corners[case, landmark]
            yield places, frames_of(first), cut_patches(inputs, case, first, self.patch_size, black)

    @property
    def uses_shapes(self) -> bool:
        """Whether patches are aligned to a typical shape, which has to be learnt."""
        return self.alignment is not None

    @property
    def typical_shape(self) -> TypicalShape | None:
        """The typical shape to which patches are aligned, see :attr:`PoseAlignment.shape`."""
        return None if self.alignment is None else self.alignment.shape

    def learn_shapes(self, points: np.ndarray, steps: np.ndarray | None) -> None:
        """Learn the typical shape, see :meth:`BaseDetector.learn_shapes`."""
        if self.alignment is not None:
            self.alignment.learn(points, steps)

    def _permutation_of(self, part: BaseDetector, permutation: Sequence[int] | None) -> list[int] | None:
        """Return a permutation of the fine detector's annotators for those of another."""
        if permutation is None:
            return None
        count = part.head.num_landmarks
        return [r * count + k for r in range(part.head.num_annotators) for k in permutation[:count]]

    def shown_maps(self, maps: Tensor) -> Tensor:
        """Return the coarse detector's maps as one per landmark."""
        return self.coarse.shown_maps(maps)

    def covered_size(self, inputs: Tensor) -> tuple[int, ...]:
        """Return the (*S) pixels that the coarse detector's maps cover; it may pad its input."""
        scale, size = self.coarse_scale(inputs.shape[2:])
        padded = self.coarse.data_preprocessor.pad(inputs.new_zeros(()).expand(1, 1, *size)).shape[2:]
        return tuple(round(n * s) for n, s in zip(padded, scale, strict=True))

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill the predictions into every sample; ``pad_shape`` is what the coarse detector's maps cover."""
        with self.cases(data_samples):
            samples = super().predict(inputs, data_samples)
        for sample in samples:
            sample.set_metainfo(dict(pad_shape=self.covered_size(inputs)))
        return samples


def _name(kind: Any) -> str:
    """Return the name of a class that a config names or holds."""
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__


def as_trained(part: BaseDetector, inputs: Tensor) -> Tensor:
    """Return images normalised, then padded, as a detector was trained."""
    own: Any = part.data_preprocessor
    return own.pad(own.normalize(inputs))


def _values(detection: Detection) -> tuple[Tensor | None, ...]:
    return detection.points, detection.scores, detection.spread, detection.presence


def _nothing(found: Detection, rough: Detection) -> Detection:
    """Return the detection (B, R, K) of no landmark, of the kind that the fine detector gives.

    Presence is that of the coarse detector: where it does not know it, 0, for a landmark that it misses.
    """
    shape = (len(rough.points), found.points.shape[1], *found.points.shape[2:])
    presence = None
    if found.presence is not None or rough.presence is not None:
        known = torch.zeros_like(rough.scores) if rough.presence is None else rough.presence
        presence = known[:, None].repeat(1, shape[1], 1)
    return Detection(
        points=found.points.new_full(shape, torch.nan),
        scores=found.scores.new_zeros(shape[:-1]),
        spread=None if found.spread is None else found.spread.new_full((*shape, shape[-1]), torch.nan),
        presence=presence,
    )
