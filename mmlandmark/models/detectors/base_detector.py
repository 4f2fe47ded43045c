"""What all detectors share: their modes, and the way from maps to landmarks of the original image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mmengine.model import BaseModel
from torch import Tensor

from mmlandmark.codecs import Candidates
from mmlandmark.models.data_preprocessor import CHANNELS_LAST
from mmlandmark.models.detectors.augmented_views import checked_views, view_matrix, view_of
from mmlandmark.models.detectors.shape_choice import ShapeChoice, steps_to_shape
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.shape import TypicalShape
from mmlandmark.structures import Detection, LandmarkDataSample, invert_matrix
from mmlandmark.utils.safe_loading import safe_loading

_ONE_VALUE = "Expected more than 1 value per channel when training"  # of PyTorch


class MeasuredPart(NamedTuple):
    """A part of a training step that a benchmark measures by itself.

    Attributes:
        function: Runs it; if it trains, it returns losses by name.
        trains: Whether a backward pass and a step of the optimizer follow.
    """

    function: Callable[[], Any]
    trains: bool


class BaseDetector(BaseModel):
    """A detector by maps; a subclass decides where the maps and the losses come from.

    Args:
        data_preprocessor: Config of the preprocessor.
        test_cfg: ``flip`` (bool): average with the maps of the mirrored image, which makes the result
            exactly equivariant to a mirror; ``views`` (list of dict): average the points detected in several
            views of the image, each ``rotation`` degrees turned and ``scale`` times as large, ``dict()``
            being the image as it is, and a volume of known spacing being turned in mm; ``spread`` (bool):
            predict the covariance of every landmark too;
            ``keep_heatmaps`` (bool): return the maps of the image as it is, if that is a view, as well;
            ``shape_prior`` (dict): choose among several peaks of a map by where the other landmarks are, with
            the arguments of :class:`~mmlandmark.models.detectors.ShapeChoice`.
        init_cfg: See MMEngine.

    Attributes:
        training_parts: Names of children that only training uses. Checkpoints keep their weights apart.
        taps_modules: Whether it reads what modules inside of its networks return, so that these cannot be
            compiled.
        not_exportable: Why it is no function of tensors that other programs could run; empty if it is one.
        not_trainable: Why it cannot be trained as a whole, and what to train; empty if it can.

    Raises:
        ValueError: ``test_cfg`` has an unknown key, or a view is wrong.
    """

    head: BaseHeatmapHead
    training_parts: tuple[str, ...] = ()
    init_weights = safe_loading(BaseModel.init_weights)
    taps_modules = False
    not_exportable = ""
    not_trainable = ""

    def __init__(
        self,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        # Built here, since MMEngine would look it up in its root registry.
        super().__init__(MODELS.build(data_preprocessor or dict(type="LandmarkDataPreprocessor")), init_cfg)
        self.test_cfg: dict[str, Any] = {
            "flip": False,
            "views": None,
            "spread": False,
            "keep_heatmaps": False,
            "shape_prior": None,
        }
        unknown = set(test_cfg or {}) - set(self.test_cfg)
        if unknown:
            raise ValueError(
                f"test_cfg has unknown keys {sorted(unknown)}; known are {', '.join(self.test_cfg)}"
            )
        self.test_cfg.update(test_cfg or {})
        checked_views(self.test_cfg["views"])
        self.shape_choice: ShapeChoice | None = None

    def add_shape_choice(self) -> None:
        """Add what ``test_cfg.shape_prior`` asks for; a subclass calls this when its head is built."""
        settings = self.test_cfg["shape_prior"]
        if settings is not None:
            self.shape_choice = ShapeChoice(self.head.num_landmarks, self.head.dims, **settings)

    @property
    def needs_annotation(self) -> bool:
        """Whether it learns from landmarks, annotated ones or pseudo labels; else from images alone."""
        return True

    @property
    def leaves_parameters_out(self) -> bool:
        """Whether a step may leave parameters without a gradient, for which several processes would wait."""
        return False

    @property
    def uses_shapes(self) -> bool:
        """Whether :meth:`learn_shapes` has to be called before training."""
        return self.shape_choice is not None

    @property
    def typical_shape(self) -> TypicalShape | None:
        """The typical shape to which patches are aligned; None if they are not."""
        return None

    def learn_shapes(self, points: np.ndarray, steps: np.ndarray | None) -> None:
        """Learn what the detector has to know about shapes.

        Args:
            points: (N, K, D) annotated landmarks, original pixels, NaN where missing.
            steps: (N, D, D) from steps in pixels to steps in mm, or None if they are not known of all.

        Raises:
            ValueError: There are too few shapes.
        """
        if self.shape_choice is not None:
            self.shape_choice.learn(points, steps)

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of the same detector without what only training uses; see :func:`plain_config`.

        A subclass that adds such parts takes them out, and may name a plainer class. One that leaves this
        method as it is keeps its config.
        """
        return config

    @abstractmethod
    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the raw maps (B, R * K * M, *S) of (B, C, *S) images, see :class:`BaseHeatmapHead`."""

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K * M, *S) of a training step; by default those of the test."""
        return [self.raw_maps(inputs)]

    def measured_parts(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]
    ) -> dict[str, MeasuredPart]:
        """Return the parts of a training step that together do what the step does; none by default."""
        return {}

    @abstractmethod
    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None, spread: bool = False
    ) -> Detection:
        """Detect the landmarks; given a permutation, in the image and its mirror image together.

        Args:
            inputs: (B, C, *S) preprocessed images.
            flip_permutation: R * K numbers: the landmark that takes the place of each in a mirrored image.
            spread: Measure the spread of every landmark, if the codec can.

        Returns:
            (B, R, K) landmarks in input pixels, with their activated maps; R is 1 where annotators have been
            averaged already.
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
                ``tensor`` the raw maps (B, R * K * M, *S).

        Raises:
            ValueError: ``mode`` is unknown, there are no samples to learn from, or a batch norm has one value
                per channel.
        """
        if mode == "loss":
            if data_samples is None:
                raise ValueError("mode 'loss' needs data_samples with annotated landmarks")
            try:
                return self.loss(inputs, data_samples)
            except ValueError as error:
                if _ONE_VALUE not in str(error):
                    raise
                raise ValueError(_one_value(data_samples)) from error
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.raw_maps(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill the predictions into every sample, in original pixels; see :class:`LandmarkDataSample`.

        With several annotators ``pred_landmarks`` are their mean and ``pred_scores`` the lowest; each one's
        own are ``pred_by_annotator``. A landmark that one view, ensemble member or annotator misses is not
        predicted: its point is NaN and its score 0.
        """
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            data_samples = [
                LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=size, input_shape=size))
                for i in range(len(inputs))
            ]
        pairs = (data_samples[0].get("flip_pairs") if data_samples else None) or ()
        frames = None
        if self.shape_choice is not None:
            frames = steps_to_shape(data_samples, bool(self.shape_choice.millimetres), self.head.dims)
        spacing = _input_spacing(data_samples) if inputs.ndim == 5 else None
        detection = self.detect_in_views(inputs, pairs, self.test_cfg["spread"], frames, spacing)
        if not self.test_cfg["keep_heatmaps"]:
            detection = replace(detection, maps=None)
        for i, sample in enumerate(data_samples):
            self._fill(sample, detection[i].to("cpu"))
        return list(data_samples)

    def _fill(self, sample: LandmarkDataSample, detection: Detection) -> None:
        """Fill a case's detection (R, K) in input pixels into its sample."""
        if "input_from_original" in sample:
            detection = detection.mapped(invert_matrix(sample.input_from_original))
        mean = detection.over_annotators()
        sample.pred_landmarks, sample.pred_scores = mean.points, mean.scores
        if mean.spread is not None:
            sample.pred_spread = mean.spread
        if mean.presence is not None:
            sample.pred_presence = mean.presence
        if mean.deviation is not None:
            sample.pred_deviation = mean.deviation
        if len(detection.points) > 1:
            sample.pred_by_annotator = detection.points
        if detection.maps is not None:
            shown = self.shown_maps(detection.maps[None])[0]
            sample.pred_heatmaps = shown.unflatten(0, (-1, self.head.num_landmarks)).mean(0)

    def detect_in_views(
        self,
        inputs: Tensor,
        flip_pairs: Sequence[tuple[int, int]] = (),
        spread: bool = False,
        frames: np.ndarray | None = None,
        spacing: np.ndarray | None = None,
    ) -> Detection:
        """Detect the landmarks as ``test_cfg`` says: in all views, and in mirrored images too.

        Args:
            inputs: (B, C, *S) preprocessed images.
            flip_pairs: Pairs of landmarks that a mirror swaps.
            spread: Measure the spread of every landmark, if the codec can.
            frames: (B, D, D) for the choice among peaks, see :func:`steps_to_shape`; None leaves it out.
            spacing: (B, D) lengths of a pixel, (x, y[, z]), by which views are turned; None if all are equal.

        Returns:
            (B, R, K) landmarks in input pixels, with the maps of the image as it is.

        Raises:
            ValueError: ``test_cfg.flip`` without ``flip_pairs``.
        """
        permutation = self._flip_permutation(flip_pairs) if self.test_cfg["flip"] else None
        detections: list[Detection] = []
        maps: Tensor | None = None
        for view in checked_views(self.test_cfg["views"]):
            matrix = view_matrix(view, inputs.shape[2:], spacing)
            seen = inputs if matrix is None else view_of(inputs, matrix)
            detection = self.detect(seen, permutation, spread)
            if self.shape_choice is not None and frames is not None:
                # A view is turned and scaled, which makes no difference to a shape.
                covered = self.covered_size(seen)
                detection = self.shape_choice(detection, frames, partial(self._candidates, covered))
            detections.append(detection if matrix is None else detection.mapped(invert_matrix(matrix)))
            if matrix is None:
                maps = detection.maps
        # Maps of a view that is turned would not lie over the image.
        return replace(Detection.mean(detections, scores="mean"), maps=maps)

    @contextmanager
    def cases(self, samples: Sequence[LandmarkDataSample] | None) -> Iterator[None]:
        """Tell, while images are detected, which cases they belong to; most detectors need not know.

        Args:
            samples: B cases, in the order of the images; None if they are unknown.
        """
        yield

    @property
    def needs_maps(self) -> bool:
        """Whether what is done with a detection needs its maps as a whole."""
        return bool(self.test_cfg["keep_heatmaps"]) or self.shape_choice is not None

    def windowed_parts(self) -> list[BaseDetector]:
        """Return the detectors that see windows, of an image that is seen in windows: by default this one.

        Raises:
            ValueError: It cannot be seen in windows.
        """
        return [self]

    def shown_maps(self, maps: Tensor) -> Tensor:
        """Return the maps of :meth:`detect` as one per annotator and landmark, (B, R * K, *S)."""
        return self.head.codec.landmark_maps(maps)

    def covered_size(self, inputs: Tensor) -> tuple[int, ...]:
        """Return the (*S) pixels that the maps of (B, C, *S) inputs cover, from the first one on."""
        return tuple(inputs.shape[2:])

    def _candidates(self, input_size: Sequence[int], maps: Tensor) -> Candidates:
        """Return the candidates of activated maps for the choice by shape."""
        assert self.shape_choice is not None
        return self.head.codec.candidates(maps, input_size, self.shape_choice.candidates)

    def _flip_permutation(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
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


def _one_value(samples: Sequence[LandmarkDataSample]) -> str:
    """Say what to do where PyTorch says that a batch norm has one value per channel."""
    names = ", ".join(str(sample.get("sample_id", "?")) for sample in samples)
    return (
        f"a batch of {len(samples)} ({names}) reaches a batch norm as one map of one pixel, which has no "
        "variance: set train_dataloader.batch_size to 2 or more, and train_dataloader.drop_last=True if this "
        "is what is left over at the end of an epoch; or norm_cfg=dict(type='GN', num_groups=...) in that "
        "part of the model, which needs no other image"
    )


def _input_spacing(samples: Sequence[LandmarkDataSample]) -> np.ndarray | None:
    """Return (B, D) mm per pixel of the inputs, 1 for a case that does not say it; None if none does.

    So what is found in a case does not depend on those beside it.
    """
    steps = [sample.input_steps for sample in samples]
    known = next((one for one in steps if one is not None), None)
    if known is None:
        return None
    cube = np.ones(known.shape[1])
    return np.stack([cube if one is None else np.linalg.norm(one, axis=0) for one in steps])


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a detector that predicts the same, without what only training uses.

    Args:
        config: Of a detector of any class.
    """
    kind = config["type"]
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return kind.plain_config(dict(config)) if hasattr(kind, "plain_config") else dict(config)


def settings_of_its_own(part: Mapping[str, Any] | None, whole: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the ``test_cfg`` of a part sets otherwise than that of the whole model, by which tests go.

    Where both choose by shapes the prior is that of the whole, whatever the part has learnt.

    Example:
        >>> settings_of_its_own(dict(flip=True, spread=True, views=None), dict(flip=True, views=[{}]))
        {'spread': True}
    """
    whole = dict(whole or {})
    if whole.get("shape_prior") is not None:
        part = {key: value for key, value in (part or {}).items() if key != "shape_prior"}
    return {key: value for key, value in (part or {}).items() if value and value != whole.get(key)}


def to_memory_format(model: BaseDetector) -> None:
    """Bring the weights into the memory format that the preprocessor gives its images."""
    if getattr(model.data_preprocessor, "channels_last", False):
        for parameter in model.parameters():
            if parameter.ndim in CHANNELS_LAST:
                parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
