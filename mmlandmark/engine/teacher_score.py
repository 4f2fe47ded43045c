"""Which images are labelled well enough to learn from: those that a second network finds most credible."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import Tensor

from mmlandmark.datasets import LandmarkDataset, leaf_datasets
from mmlandmark.datasets.left_out import sample_or_reason
from mmlandmark.datasets.transforms import LoadImage, PackInputs
from mmlandmark.engine.labelling import with_pipeline
from mmlandmark.engine.training_state import as_count, of_type
from mmlandmark.models.blocks import per_axis
from mmlandmark.models.patch_discriminator import PatchDiscriminator
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import LABEL_SELECTORS
from mmlandmark.shape import Regulated
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.checkpoint import is_plain_tensor

SIDES = {2: 64, 3: 32}
_SHIFT = 0.1  # of a side, the farthest that an image is moved while the teacher learns


class _Cases(NamedTuple):
    """N small images with landmarks.

    Attributes:
        images: (N, 1, *S), each of mean 0 and standard deviation 1.
        points: (N, K, D) pixels of these images, NaN where missing.
    """

    images: Tensor
    points: Tensor


@LABEL_SELECTORS.register_module()
class TeacherScore:
    """Keeps the images whose labels a teacher finds most like annotated ones.

    After Dong and Yang, "Teacher Supervises Students How to Learn From Partially Labeled Images for Facial
    Landmark Detection" (ICCV 2019). The teacher is a :class:`~mmlandmark.models.PatchDiscriminator` of image
    and heatmaps. In every round it goes on learning to tell annotated heatmaps (1) from predicted ones (0),
    by least squares, and then scores all images; the best are kept, with all their landmarks as they were
    predicted. There one teacher supervises a pair of students, here the one network that is trained.

    Two things are added, since a teacher of few annotated images would know these by heart: every second one
    of the predicted shapes is shown to it on an annotated image, and images are moved with their points by up
    to a tenth of a side. After 400 steps with 20 annotated phantoms, it preferred right labels to labels with
    three landmarks far off in 96 % of all pairs, and in 62 % without both.

    Only the main process has a teacher. It draws from generators of its own, and checkpoints hold its
    weights: a resumed run goes on with the same.

    Args:
        keep: Part of the images of a round that is learnt from, above 0 up to 1, rounded up.
        size: (*S) of the small images that the teacher sees, or one side; 64 pixels by default, 32 in 3D. The
            whole image is stretched to it.
        sigma: Of the Gaussian heatmaps, in pixels of the small image.
        steps: Of Adam in every round.
        batch_size: Annotated shapes in a step, and as many predicted ones.
        lr: Learning rate.
        widths: Channels of the teacher, by default those of the publication; on a CPU, (16, 32, 64) at size
            32 are enough to find labels that are far off.
        seed: Of the first weights and of all draws.

    Raises:
        ValueError: An argument does not fit; it is named.
    """

    compares_images = True  # labels of single batches cannot be selected

    def __init__(
        self,
        keep: float = 0.5,
        size: int | Sequence[int] | None = None,
        sigma: float = 1.5,
        steps: int = 100,
        batch_size: int = 8,
        lr: float = 2e-4,
        widths: Sequence[int] = (64, 128, 256, 512),
        seed: int = 0,
    ) -> None:
        if not 0 < keep <= 1:
            raise ValueError(f"TeacherScore: keep is a part of the images in (0, 1], got {keep}")
        if steps < 1 or batch_size < 2 or not lr > 0 or not sigma > 0 or len(widths) < 2:
            raise ValueError(
                "TeacherScore needs steps >= 1, batch_size >= 2, lr > 0, sigma > 0 and two or more widths, "
                f"got {steps}, {batch_size}, {lr}, {sigma}, {tuple(widths)}"
            )
        self.keep, self.size, self.sigma, self.steps = keep, size, float(sigma), steps
        self.batch_size, self.lr, self.widths, self.seed = batch_size, lr, tuple(widths), seed
        self.rounds = 0
        self.teacher: PatchDiscriminator | None = None
        self._resumed: dict[str, Tensor] | None = None
        self._frame: tuple[int, ...] = ()
        self._annotated: list[tuple[LandmarkDataset, int]] = []
        self._places: dict[str, tuple[LandmarkDataset, int]] = {}
        self._seen: dict[tuple[int, int], tuple[Tensor, LandmarkDataSample]] = {}

    # ---- state --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rounds and the weights of the teacher."""
        weights = {} if self.teacher is None else self.teacher.state_dict()
        return dict(rounds=self.rounds, weights={key: value.cpu().clone() for key, value in weights.items()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; :meth:`learn` gives the weights to the teacher.

        Raises:
            ValueError: It is none.
        """
        rounds = as_count(state.get("rounds"), "selector.rounds")
        weights = of_type(state.get("weights"), Mapping, "selector.weights")
        for key, value in weights.items():
            if not is_plain_tensor(value) or not bool(torch.isfinite(value).all()):
                raise ValueError(f"selector.weights[{str(key)[:40]!r}] is no tensor of finite numbers")
        self.rounds, self._resumed = rounds, dict(weights)

    # ---- learning -----------------------------------------------------------------------------------

    def learn(self, dataset: Any) -> None:
        """Find the images of a data set, and make the teacher.

        Raises:
            ValueError: No image is annotated; the size does not fit; or the weights of a checkpoint do not.
        """
        leaves = [leaf for leaf in leaf_datasets(dataset) if isinstance(leaf, LandmarkDataset)]
        schema = leaves[0].schema
        self._frame = per_axis(self.size or SIDES[schema.dims], schema.dims, "TeacherScore: size")
        self._annotated, self._places, self._seen = [], {}, {}
        for leaf in leaves:
            part = with_pipeline(leaf, [_small(leaf, self._frame), PackInputs()])
            for index in range(len(leaf)):
                record = LandmarkDataset.get_data_info(leaf, index)
                if leaf.unlabelled:
                    self._places[record["sample_id"]] = (part, index)
                elif np.isfinite(record["landmarks"]).all(axis=1).any():
                    self._annotated.append((part, index))
        if not self._annotated:
            raise ValueError("TeacherScore: no image of the training data is annotated")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            teacher = PatchDiscriminator(1 + len(schema), schema.dims, self.widths)
        if min(self._frame) < teacher.smallest:
            raise ValueError(
                f"TeacherScore: {len(self.widths)} widths need images of {teacher.smallest} pixels a side, "
                f"size is {self._frame}"
            )
        if self._resumed:
            _load(teacher, self._resumed)
        self.teacher = teacher.to(get_device())

    def select(self, points: np.ndarray, samples: Sequence[LandmarkDataSample]) -> Regulated:
        """Let the teacher learn, and keep the images that it scores best.

        Args:
            points: (N, K, D) original pixels, NaN where nothing was predicted.
            samples: N unlabelled samples the shapes are of, of the data set that was learnt.

        Raises:
            ValueError: No annotated image can be read, or one that is not to be skipped.
        """
        points = np.asarray(points, dtype=np.float64)
        predicted = self._cases([self._places[sample.sample_id] for sample in samples], points)
        self._annotated = [place for place in self._annotated if self._usable(*place)]
        if not self._annotated:
            raise ValueError("TeacherScore: no annotated image of the training data can be read")
        annotated = self._cases(self._annotated)
        self._train(annotated, predicted)
        self.rounds += 1
        scores = self.scores(predicted)
        there = np.isfinite(points).all(axis=2)
        labelled = np.flatnonzero(there.any(axis=1))
        order = labelled[np.argsort(-scores[labelled], kind="stable")]
        count = math.ceil(self.keep * len(order) - 1e-9)  # the error of a part such as 0.1
        best = np.zeros(len(points), dtype=bool)
        best[order[:count]] = True
        told = dict(
            annotated=self.scores(annotated), kept=scores[order[:count]], others=scores[order[count:]]
        )
        means = ", ".join(f"{name} {one.mean():.3g}" for name, one in told.items() if len(one))
        print_log(f"mean scores of the teacher: {means}", "current")
        kept = there & best[:, None]
        return Regulated(points, np.full(kept.shape, np.nan), kept, np.zeros(len(points), dtype=bool))

    def scores(self, cases: _Cases) -> np.ndarray:
        """Return what the teacher thinks of N cases, (N,): about 1 of annotated ones."""
        assert self.teacher is not None
        self.teacher.eval()
        with torch.no_grad():
            found = [
                self.teacher(self._pairs(_Cases(*part))).flatten(1).mean(1)
                for part in zip(*(values.split(self.batch_size) for values in cases), strict=True)
            ]
        return torch.cat(found).cpu().numpy().astype(np.float64)

    def _train(self, annotated: _Cases, predicted: _Cases) -> None:
        """Take the steps of a round."""
        assert self.teacher is not None
        state = np.random.SeedSequence([self.seed, self.rounds]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        optimizer = torch.optim.Adam(self.teacher.parameters(), self.lr, betas=(0.5, 0.999))
        self.teacher.train()
        # An instance norm does not see the other images of a batch: both kinds pass at once.
        aim = torch.ones(2 * self.batch_size, device=annotated.images.device)
        aim[self.batch_size :] = 0
        for _ in range(self.steps):
            found = self.teacher(self._pairs(*self._batch(annotated, predicted, generator)))
            loss = 2 * (found.flatten(1) - aim[:, None]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _batch(
        self, annotated: _Cases, predicted: _Cases, generator: torch.Generator
    ) -> tuple[_Cases, Tensor]:
        """Draw annotated cases, and as many predicted shapes, every second one on an annotated image.

        Returns:
            The cases, and (2B, K) bool: the landmarks of them that are shown. What is missing in an annotated
            shape is not shown in the predicted one that is drawn with it, either: it would tell them apart.
        """
        true, made, under = (
            torch.randint(len(cases.images), (self.batch_size,), generator=generator)
            for cases in (annotated, predicted, annotated)
        )
        images = predicted.images[made]
        images[::2] = annotated.images[under[::2]]
        pairs = annotated.points[true], predicted.points[made]
        shown = torch.isfinite(pairs[0] + pairs[1]).all(-1)
        drawn = _Cases(torch.cat([annotated.images[true], images]), torch.cat(pairs))
        return self._moved(drawn, generator), shown.repeat(2, 1)

    def _moved(self, cases: _Cases, generator: torch.Generator) -> _Cases:
        """Return cases that are moved by some pixels; what leaves an image comes in at the other side."""
        ways = [math.ceil(_SHIFT * side) for side in self._frame]
        moves = torch.stack(
            [torch.randint(-way, way + 1, (len(cases.images),), generator=generator) for way in ways], dim=1
        )
        axes = tuple(range(1, 1 + len(ways)))
        images = [
            image.roll(tuple(move.tolist()), axes) for image, move in zip(cases.images, moves, strict=True)
        ]
        # A point is (x, y[, z]), a size (*S).
        return _Cases(torch.stack(images), cases.points + moves.flip(1)[:, None].to(cases.points))

    # ---- what the teacher sees ----------------------------------------------------------------------

    def _pairs(self, cases: _Cases, shown: Tensor | None = None) -> Tensor:
        """Return images with the heatmaps of their landmarks, (N, 1 + K, *S)."""
        maps = gaussian_heatmap(cases.points, self._frame, self.sigma, mask=shown)
        return torch.cat([cases.images, maps], dim=1)

    def _cases(
        self, places: Sequence[tuple[LandmarkDataset, int]], points: np.ndarray | None = None
    ) -> _Cases:
        """Return the small images of some samples, with what was annotated or these (N, K, D) points."""
        images, landmarks = [], []
        for n, place in enumerate(places):
            image, sample = self._small_image(*place)
            own = sample.gt_landmarks if points is None else torch.from_numpy(points[n])
            images.append(image)
            landmarks.append(sample.to_input(own).float())
        device = get_device()
        return _Cases(torch.stack(images).to(device), torch.stack(landmarks).to(device))

    def _usable(self, part: LandmarkDataset, index: int) -> bool:
        """Return whether an annotated image can be read; one that is to be skipped if not is named."""
        if part.skips_unreadable and (id(part), index) not in self._seen:
            packed, reason = sample_or_reason(part, index)
            if reason is not None:
                part.left_out.tell(index, reason)
                return False
            self._keep(part, index, packed)
        return True

    def _small_image(self, part: LandmarkDataset, index: int) -> tuple[Tensor, LandmarkDataSample]:
        """Return a small image (1, *S), standardised, and its sample; each is read once."""
        if (id(part), index) not in self._seen:
            # An index would give another image for a broken one.
            self._keep(part, index, part.prepare_data(index))
        return self._seen[id(part), index]

    def _keep(self, part: LandmarkDataset, index: int, packed: Mapping[str, Any]) -> None:
        sample = packed["data_samples"]
        image = sample.unit_pixels(packed["inputs"])
        deviation = image.std(correction=0)
        self._seen[id(part), index] = (image - image.mean()) / (deviation if deviation > 0 else 1.0), sample


def _small(leaf: LandmarkDataset, frame: tuple[int, ...]) -> LoadImage:
    """Return the step that loads the images of a data set, at another size and in grey.

    Raises:
        ValueError: Its pipeline has none.
    """
    steps = [step for step in getattr(leaf.pipeline, "transforms", ()) if isinstance(step, LoadImage)]
    if not steps:
        raise ValueError("TeacherScore reads images by the LoadImage of the training's pipeline: it has none")
    step = copy.copy(steps[0])
    step.size, step.keep_aspect, step.channels = frame, False, 1
    return step


def _load(teacher: PatchDiscriminator, weights: Mapping[str, Tensor]) -> None:
    own = teacher.state_dict()
    if {key: value.shape for key, value in own.items()} != {key: w.shape for key, w in weights.items()}:
        raise ValueError(
            "TeacherScore: the checkpoint holds a teacher of other widths or landmarks; resume with the "
            "widths that the run began with"
        )
    teacher.load_state_dict(dict(weights))
