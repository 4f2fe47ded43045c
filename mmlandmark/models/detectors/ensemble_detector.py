"""Several detectors in one model, trained side by side or one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from mmengine.model import ModuleList
from torch import Tensor

from mmlandmark.models.assembly import filled
from mmlandmark.models.detectors.base_detector import BaseDetector, plain_config, settings_of_its_own
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.heads import BaseHeatmapHead
from mmlandmark.registry import MODELS
from mmlandmark.structures import Detection, LandmarkDataSample

AVERAGES = ("points", "median", "heatmaps")


class BaseEnsemble(BaseDetector):
    """Detectors whose mean is predicted; a subclass builds the members.

    Args:
        members: The detectors, of the same landmarks.
        average: ``points``: every member decodes, and the mean point counts; ``median``: the median of their
            coordinates, one by one, on which a member that is far off has no influence; ``heatmaps``: the
            mean map is decoded, by the first member's codec, for which all maps need one size and comparable
            codecs.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg`` and ``init_cfg``.
        test_cfg: ``flip``, ``views``, ``spread``, ``keep_heatmaps`` and ``shape_prior``.
        init_cfg: See MMEngine.

    Raises:
        ValueError: No members, they differ in their number of landmarks, ``average`` is unknown, or maps are
            averaged whose codecs cannot be compared.
    """

    def __init__(
        self,
        members: Sequence[BaseDetector],
        average: str = "points",
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {AVERAGES}, got {average!r}")
        self.average = average
        # MMEngine's list: it hands init_weights on to the members.
        self.members = ModuleList(members)
        counts = sorted({member.head.num_landmarks for member in self.members})
        if len(counts) != 1:
            raise ValueError(
                "the members of an ensemble must detect the same landmarks, their numbers are "
                f"{counts or 'unknown without any member'}"
            )
        self.add_shape_choice()
        settings = [member.head.codec.comparable_by() for member in self.members]
        self._comparable = all(other == settings[0] for other in settings)
        if average == "heatmaps" and not self._comparable:
            raise ValueError(
                f"the heatmaps of the members have no mean, their codecs differ: {settings}; average points "
                "instead"
            )

    @property
    def head(self) -> BaseHeatmapHead:  # type: ignore[override]
        """The first member's head."""
        return self.members[0].head

    @property
    def needs_maps(self) -> bool:
        """Whether what is done with a detection needs its maps as a whole: also to average them."""
        return super().needs_maps or self.average == "heatmaps"

    def windowed_parts(self) -> list[BaseDetector]:
        """Return those of the members; see :meth:`BaseDetector.windowed_parts`."""
        return [part for member in self.members for part in member.windowed_parts()]

    def member_inputs(self, member: BaseDetector, inputs: Tensor) -> Tensor:
        """Return a member's input (B, C, *S), made of the ensemble's; the same by default."""
        return inputs

    def raw_maps(self, inputs: Tensor) -> Tensor:
        """Return the mean raw maps (B, R * K * M, *S), of members with one size of map."""
        return _mean([m.raw_maps(self.member_inputs(m, inputs)) for m in self.members])

    def training_maps(self, inputs: Tensor) -> list[Tensor]:
        """Return all raw maps (B, R * K * M, *S) of a training step, member by member."""
        return [maps for m in self.members for maps in m.training_maps(self.member_inputs(m, inputs))]

    def detect(
        self, inputs: Tensor, flip_permutation: Sequence[int] | None = None, spread: bool = False
    ) -> Detection:
        """Return the members' mean, with their lowest scores; see :meth:`BaseDetector.detect`.

        Its maps are the mean of the members', or the first's where shapes or codecs differ. Members with
        different numbers of annotators count with the mean of theirs.
        """
        of_maps = self.average == "heatmaps"
        seen = [self.member_inputs(member, inputs) for member in self.members]
        detections = [
            member.detect(own, _for_annotators(flip_permutation, member.head), spread and not of_maps)
            for member, own in zip(self.members, seen, strict=True)
        ]
        maps = [detection.maps for detection in detections if detection.maps is not None]
        if of_maps:
            # The maps show the members' input, which may have a padding that the ensemble's lacks.
            return self.head.predict(_mean(maps), _common_size(seen), spread)
        if len({detection.points.shape[1] for detection in detections}) > 1:
            detections = [d.over_annotators().with_annotators(1) for d in detections]
        together = Detection.mean(detections, center="median" if self.average == "median" else "mean")
        if len(maps) < len(detections):  # seen in windows, without whole maps
            return replace(together, maps=None)
        alike = self._comparable and len({m.shape[1:] for m in maps}) == 1
        return replace(together, maps=_mean(maps) if alike else maps[0])

    def covered_size(self, inputs: Tensor) -> tuple[int, ...]:
        """Return the (*S) of the first member's input, which may have a padding that the ensemble's lacks."""
        return tuple(self.member_inputs(self.members[0], inputs).shape[2:])


@MODELS.register_module()
class EnsembleDetector(BaseEnsemble):
    """Detectors that differ in their random start, trained side by side; their mean point is predicted.

    With few images, what a network learns beyond them depends on its start, and the errors of several starts
    partly cancel in their mean. A config becomes an ensemble by ``type`` and ``members``; the rest stays.

    Args:
        members: Number of detectors.
        dims: Of every member, see :class:`LandmarkDetector`.
        data_preprocessor: See :class:`BaseDetector`, likewise ``test_cfg`` and ``init_cfg``.
        test_cfg: ``flip``, ``views``, ``spread``, ``keep_heatmaps`` and ``shape_prior``.
        init_cfg: See MMEngine.
        **detector: Arguments of every member, see :class:`LandmarkDetector`.

    Raises:
        ValueError: ``members`` is below 1.
    """

    def __init__(
        self,
        members: int,
        dims: int | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
        **detector: Any,
    ) -> None:
        if members < 1:
            raise ValueError(f"EnsembleDetector needs at least 1 member, got {members}")
        shared: dict[str, Any] = dict(dims=dims, data_preprocessor=data_preprocessor)
        built = [LandmarkDetector(**shared, **detector) for _ in range(members)]
        super().__init__(built, "points", data_preprocessor, test_cfg, init_cfg)

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the members' losses, summed by name: each member learns as it would alone."""
        losses = [member.loss(inputs, data_samples) for member in self.members]
        return {name: sum(part[name] for part in losses) for name in losses[0]}


@MODELS.register_module()
class MixedEnsemble(BaseEnsemble):
    """Detectors that were trained one by one, of one kind or of several, for the same landmarks and input.

    Every member normalises the image as it was trained to. ``mmlandmark ensemble`` builds one from work
    folders. To train several of one kind side by side there is :class:`EnsembleDetector`.

    Args:
        detectors: Configs of the members.
        average: See :class:`BaseEnsemble`.
        dims: Of every member that takes it, see :class:`LandmarkDetector`.
        data_preprocessor: What all members share; no normalisation by default.
        test_cfg: ``flip``, ``views``, ``spread``, ``keep_heatmaps`` and ``shape_prior``, see
            :class:`BaseDetector`. Those of the members have no effect.
        init_cfg: See MMEngine.

    Raises:
        ValueError: A member sets something in its ``test_cfg`` that the ensemble does not.
    """

    not_trainable = "MixedEnsemble is made of trained detectors: train its members one by one"

    def __init__(
        self,
        detectors: Sequence[dict],
        average: str = "points",
        dims: int | None = None,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        members = [MODELS.build(filled(MODELS, detector, dims=dims)) for detector in detectors]
        super().__init__(members, average, data_preprocessor, test_cfg, init_cfg)
        for number, member in enumerate(members):
            own = settings_of_its_own(member.test_cfg, self.test_cfg)
            if own:
                raise ValueError(
                    f"detectors[{number}].test_cfg has {own}, which has no effect: a test goes by the "
                    "test_cfg of the ensemble, beside 'detectors'"
                )

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with plain members."""
        return config | dict(detectors=[plain_config(member) for member in config["detectors"]])

    def member_inputs(self, member: BaseDetector, inputs: Tensor) -> Tensor:
        """Return images normalised, then padded, as the member was trained."""
        own = member.data_preprocessor
        return own.pad(own.normalize(inputs))

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill the predictions into every sample; ``pad_shape`` is that of a member's input and its maps."""
        with self.cases(data_samples):
            samples = super().predict(inputs, data_samples)
        covered = self.covered_size(inputs)
        for sample in samples:
            sample.set_metainfo(dict(pad_shape=covered))
        return samples

    @contextmanager
    def cases(self, samples: Sequence[LandmarkDataSample] | None) -> Iterator[None]:
        """Tell the members, see :meth:`BaseDetector.cases`."""
        # Where the cases lie, not how pixels are stored: these have become floats already.
        known = None if samples is None else [_place_of(sample) for sample in samples]
        with ExitStack() as stack:
            for member in self.members:
                stack.enter_context(member.cases(known))
            yield

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Raise NotImplementedError: members are trained before they come together."""
        raise NotImplementedError(self.not_trainable)


def _place_of(sample: LandmarkDataSample) -> LandmarkDataSample:
    """Return a case of which only frames and lengths are known."""
    keys = ("sample_id", "input_from_original", "spacing", "world_from_original")
    return LandmarkDataSample(metainfo={key: sample.get(key) for key in keys if key in sample})


def _for_annotators(permutation: Sequence[int] | None, head: BaseHeatmapHead) -> list[int] | None:
    """Return the permutation of as many annotators as a head has."""
    if permutation is None:
        return None
    first = list(permutation)[: head.num_landmarks]
    return [r * head.num_landmarks + k for r in range(head.num_annotators) for k in first]


def _mean(maps: Sequence[Tensor]) -> Tensor:
    shapes = sorted({tuple(m.shape[1:]) for m in maps})
    if len(shapes) != 1:
        raise ValueError(f"maps of different shapes have no mean: {shapes}; average points instead")
    return sum(maps[1:], maps[0]) / len(maps)


def _common_size(inputs: Sequence[Tensor]) -> tuple[int, ...]:
    sizes = sorted({tuple(i.shape[2:]) for i in inputs})
    if len(sizes) != 1:
        raise ValueError(
            f"maps of inputs padded to different sizes have no mean: {sizes}; average points instead"
        )
    return sizes[0]
