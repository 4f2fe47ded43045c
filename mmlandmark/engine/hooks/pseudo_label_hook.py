"""Labels unlabelled images: by the network that is being trained, again and again, or by another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.dataset import Compose
from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine.batch_labels import BatchLabels
from mmlandmark.engine.checkpoint_files import clean_temporaries
from mmlandmark.engine.hooks.landmark_visualization_hook import by_iteration
from mmlandmark.engine.hooks.stateful_hook import StatefulHook
from mmlandmark.engine.label_pictures import draw_labels
from mmlandmark.engine.label_rounds import LabelRound, described, summary
from mmlandmark.engine.labellers import Labellers, RandomPlaces
from mmlandmark.engine.labelling import (
    TwoViews,
    check_unlabelled,
    clean_pipeline,
    predict_parts,
    predict_views,
    predicted_points,
    unlabelled_parts,
)
from mmlandmark.engine.processes import bare, main_process_decides
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.engine.shape_regulator import KeepAll
from mmlandmark.engine.training_state import as_count, of_type
from mmlandmark.registry import HOOKS, LABEL_SELECTORS
from mmlandmark.structures import LandmarkDataSample, mm_steps
from mmlandmark.utils.files import file_hash, write_state
from mmlandmark.utils.run_inputs import RunInput

FOLDER = "pseudo_labels"

_NO_EPOCHS = "PseudoLabelHook: a loop without epochs labels every batch: set by_epoch=False"
_NO_AVERAGE = (
    "PseudoLabelHook: averaged=True labels by the average of the weights that an EMAHook keeps, and the run "
    "has none: add dict(type='EMAHook', momentum=0.01) to custom_hooks"
)
_NO_CLEAN_VIEW = (
    "PseudoLabelHook: in a loop without epochs, workers of the loader start before clean_view=True can reach "
    "them: set train_dataloader.num_workers=0, or count epochs"
)


@HOOKS.register_module()
class PseudoLabelHook(StatefulHook):
    r"""Give the ``unlabelled`` samples of the training data labels that the current network predicts.

    With ``by_epoch`` all unlabelled images are labelled before an epoch, as in a test, and keep their labels
    until the next round. Otherwise every batch is labelled just before the network learns from it: as it is,
    augmented, or, with ``clean_view``, each image as in a test. In all cases no gradient flows through the
    labels, and the network is in the mode of a test meanwhile.

    ``clean_view`` is the consistency of UDA (Xie et al., "Unsupervised Data Augmentation for Consistency
    Training"): what the network finds in the clean image, detached, is what it shall find in the augmented
    one. Points take the place of classes, and the loss of the head that of the divergence: a point of the
    clean view is one of the original image, and the matrix of the augmented sample leads it into its frame.
    The augmentation is that of the pipeline. What is for classes alone is left out: sharpening, the threshold
    of confidence, the annealing of the training signal.

    With ``averaged``, too, this is the mean teacher (Tarvainen and Valpola, "Mean teachers are better role
    models"), also with the loss of the head in place of the squared difference.

    With ``labeller`` another, trained detector makes the labels, once: it does not change, and neither do
    they. It is no part of the checkpoints.

    An image that cannot be read is named and left out, and a label outside of its image is not learnt from.

    Every round, or all that an epoch labelled by batches, is written to ``pseudo_labels/epoch_<N>.json`` in
    the work folder: after N epochs, prediction, label, deviation and mask of every image. Checkpoints name
    the labels that hold with the hash of their file; a resumed run reads it again.
    ``pseudo_labels/rounds.json`` has a row for every round: how many landmarks were adjusted and masked and,
    of annotations that ``unlabelled=True`` hides, their true errors.

    Args:
        start: Epochs after which there are labels.
        interval: Epochs between two rounds.
        by_epoch: Label all images before an epoch; else every batch by itself.
        selector: Config of what decides which landmarks are learnt from; by default
            :class:`~mmlandmark.engine.shape_regulator.ShapeRegulator`.
        weight: Of a pseudo label in the loss. A loss that is a mean by weights knows only how it compares
            with that of annotated landmarks in the same batch.
        pipeline: What happens to an image before the network sees it; None takes the pipeline of the
            validation. Not used for batches without ``clean_view``.
        clean_view: Label the images of a batch as they are without augmentation.
        averaged: Label by the average of the weights that the run's ``EMAHook`` keeps, instead of by the
            network itself.
        labeller: File of a trained detector that labels in place of the network: a checkpoint beside its
            config, a model file, or ``run:<name>:last`` of a stage before. ``pipeline`` then is its own by
            default. There is one round, after ``start`` epochs. Of a list of files, see
            :class:`~mmlandmark.engine.labellers.Labellers`.
        first: What the first round says: what the ``network`` does, or that every landmark is at a
            ``random`` place of its image (CC2D-SLA), which no selector looks at.
        ramp_up: Epochs, from ``start`` on, over which the weight grows: it is multiplied by
            :math:`\exp(-5 (1 - t)^2)`, with t from 0 to 1 (Tarvainen and Valpola).

    Raises:
        ValueError: An argument does not fit; it is named.
    """

    # Behind EpochSeedHook: drawing numbers for labels would not matter to the epoch.
    priority = "HIGH"
    provides = ("pseudo labels",)
    run_inputs = {"labeller": RunInput("labeller", weights=True)}

    def __init__(
        self,
        start: int = 0,
        interval: int = 1,
        by_epoch: bool = True,
        selector: dict | None = None,
        weight: float = 1.0,
        pipeline: Sequence[dict] | None = None,
        clean_view: bool = False,
        averaged: bool = False,
        labeller: str | Sequence[str] | None = None,
        first: Literal["network", "random"] = "network",
        ramp_up: int = 0,
    ) -> None:
        if start < 0 or interval < 1 or not weight > 0 or ramp_up < 0:
            raise ValueError(
                "PseudoLabelHook needs start >= 0, interval >= 1, weight > 0 and ramp_up >= 0, got "
                f"{start}, {interval}, {weight}, {ramp_up}"
            )
        if not by_epoch and interval != 1:
            raise ValueError("PseudoLabelHook labels every batch with by_epoch=False: leave interval out")
        if by_epoch and clean_view:
            raise ValueError(
                "PseudoLabelHook: rounds see clean images anyway: clean_view=True needs by_epoch=False"
            )
        if first not in ("network", "random"):
            raise ValueError(f"PseudoLabelHook: first must be 'network' or 'random', got {first!r}")
        if (labeller is not None or first == "random") and not by_epoch:
            raise ValueError("PseudoLabelHook: labeller and first='random' need rounds: by_epoch=True")
        if labeller is not None and (interval != 1 or averaged or first == "random"):
            raise ValueError(
                "PseudoLabelHook: a labeller does not change, and labels once: leave interval, averaged and "
                "first out"
            )
        self.start, self.interval, self.by_epoch, self.ramp_up = start, interval, by_epoch, ramp_up
        self.labellers, self.first = None if labeller is None else Labellers(labeller), first
        self.weight, self.pipeline = float(weight), pipeline
        self.clean_view, self.averaged = clean_view, averaged
        self.selector = LABEL_SELECTORS.build(dict(selector or dict(type="ShapeRegulator")))
        if not by_epoch and getattr(self.selector, "compares_images", False):
            raise ValueError(
                f"PseudoLabelHook: {type(self.selector).__name__} compares all images of a round: it needs "
                "by_epoch=True"
            )
        self.rows: list[dict[str, Any]] = []
        self._latest: dict[str, Any] | None = None  # epoch and hash of the labels that hold
        self._parts: list[LandmarkDataset] = []
        self._ids: dict[str, int] = {}
        self._by_batch = BatchLabels()

    def check_run(self, run: RunContext, model: Any) -> None:
        """Raise ValueError if nothing is to be labelled, or the run lacks what labels are to be made by."""
        loader = run.config.get("train_dataloader") or {}
        check_unlabelled(loader)
        counts = not (run.config.get("train_cfg") or {}).get("by_epoch", True)
        self._check_loop(counts, int(loader.get("num_workers", 0)))
        if self.averaged and not run.has_hook(EMAHook):
            raise ValueError(_NO_AVERAGE)
        if self.labellers is not None:
            self.labellers.check(run, self.pipeline, model.head.num_landmarks)
        elif self.by_epoch or self.clean_view:
            clean_pipeline(run.config, self.pipeline)
        if self.start and (loader.get("sampler") or {}).get("labelled") == 0:
            raise ValueError(
                f"PseudoLabelHook: with start={self.start} nothing is learnt before: the sampler draws no "
                "labelled samples; give it a share above 0, or start=0"
            )
        annotators = getattr(getattr(model, "head", None), "num_annotators", 1)
        if annotators > 1:
            raise ValueError(
                f"PseudoLabelHook: the head learns {annotators} annotators, and a pseudo label is of none of "
                "them: set head.num_annotators=1"
            )

    def _check_loop(self, counts_iterations: bool, workers: int) -> None:
        if counts_iterations and self.by_epoch:
            raise ValueError(_NO_EPOCHS)
        if counts_iterations and self.clean_view and workers:
            raise ValueError(_NO_CLEAN_VIEW)

    # ---- state --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what names the labels that hold, a row per round, and the state of a selector with one."""
        state = dict(latest=self._latest and dict(self._latest), rows=[dict(row) for row in self.rows])
        if hasattr(self.selector, "state_dict"):
            state["selector"] = self.selector.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over which labels hold; they are read before training goes on."""
        latest = state.get("latest")
        if latest is not None:
            of_type(latest, Mapping, "latest")
            digest = of_type(latest.get("sha256"), str, "latest.sha256")
            latest = dict(epoch=as_count(latest.get("epoch"), "latest.epoch"), sha256=digest)
        rows = of_type(state.get("rows"), list | tuple, "rows")
        for row in rows:
            of_type(row, Mapping, "a row")
            as_count(row.get("epoch"), "epoch of a row")
        if hasattr(self.selector, "load_state_dict"):
            self.selector.load_state_dict(of_type(state.get("selector"), Mapping, "selector"))
        self._latest, self.rows = latest, [dict(row) for row in rows]

    # ---- rounds -------------------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        """Find the unlabelled images, learn what labels are usual, and give a resumed run its labels back.

        Raises:
            ValueError: See :func:`unlabelled_parts` and the selector; or labels are not those that the
                checkpoint names; or the run lacks what labels are to be made by.
            FileNotFoundError: Their file is gone.
        """
        self._check_loop(by_iteration(runner), runner.train_dataloader.num_workers)
        self._network(runner)
        dataset = runner.train_dataloader.dataset
        self._parts = unlabelled_parts(dataset)
        self._ids = {record["sample_id"]: n for n, record in enumerate(self._records())}
        # Made here, since workers that live on would not see what is made after them.
        shape = [part.pseudo_labels.points.shape[1:] for part in self._parts].pop()
        self.selector.learn(dataset)
        if self.clean_view:
            clean = Compose(clean_pipeline(runner.cfg, self.pipeline))
            for part in self._parts:
                part.pipeline = TwoViews(part.pipeline, clean)
        if is_main_process():
            clean_temporaries(Path(runner.work_dir, FOLDER), notes=True)
        if self._latest is not None:
            self._apply(main_process_decides(lambda: self._read(runner, shape)))
        elif self.labellers is not None:
            self.labellers.load(self.pipeline, self._parts[0].metainfo)

    def _read(self, runner: Runner, shape: tuple[int, int]) -> LabelRound:
        """Read the labels that the checkpoint names."""
        assert self._latest is not None
        path = _file(runner, self._latest["epoch"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: the checkpoint was trained with these labels; put the file back"
            )
        if file_hash(path) != self._latest["sha256"]:
            raise ValueError(f"{path}: these are not the labels that the checkpoint was trained with")
        return LabelRound.read(path, list(self._ids), shape)

    def before_train_epoch(self, runner: Runner) -> None:
        """Make new labels of all images, if it is time, and say how much labels count in this epoch."""
        self._by_batch = BatchLabels()
        if not self.by_epoch or runner.epoch < self.start:
            return
        if self._latest is None or (
            self.labellers is None and runner.epoch - self._latest["epoch"] >= self.interval
        ):
            self._label(runner)
        for part in self._parts:
            part.pseudo_labels.weigh(self._weight_after(runner.epoch))

    def _label(self, runner: Runner) -> None:
        """Make new labels of all images, and write them."""
        selector: Any = self.selector
        if self.labellers is not None:
            samples = self.labellers.predict(runner, self._parts)
        elif self.first == "random" and self._latest is None:
            places = RandomPlaces(runner.seed or 0, self._parts[0].metainfo["landmark_names"])
            samples, selector = predict_parts(runner, places, self._parts, self.pipeline), KeepAll()
        else:
            samples = predict_parts(runner, self._network(runner), self._parts, self.pipeline)
        made = main_process_decides(lambda: _selected(selector, runner.epoch, samples))
        self._apply(made)
        digest = self._report(runner, made, samples)
        self._latest = dict(epoch=runner.epoch, sha256=digest)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Label the unlabelled samples of a batch by the network as it is."""
        # A loop without epochs counts its passes.
        passes = runner.iter / len(runner.train_dataloader)
        if self.by_epoch or passes < self.start:
            return
        chosen = [i for i, sample in enumerate(data_batch["data_samples"]) if sample.sample_id in self._ids]
        if not chosen:
            return
        samples = [data_batch["data_samples"][i] for i in chosen]
        if self.clean_view:
            views = [sample.pop("clean_view") for sample in samples]
        else:
            inputs = [data_batch["inputs"][i] for i in chosen]
            views = [
                dict(inputs=image, data_samples=sample.clone())
                for image, sample in zip(inputs, samples, strict=True)
            ]
        predicted = predict_views(self._network(runner), views)
        # In a mirror image landmarks have changed sides. What is selected and told is the patient's.
        for view in predicted:
            view.pred_landmarks = view.pred_landmarks[self._order(view)]
        made = _selected(self.selector, runner.epoch, predicted)
        for n, sample in enumerate(samples):
            self._by_batch.give(sample, made, n, self._order(sample), self._weight_after(passes))

    def after_train_epoch(self, runner: Runner) -> None:
        """Report on the labels of all batches of the epoch."""
        found = None if self.by_epoch else self._by_batch.gathered(runner.epoch, list(self._ids))
        if found is not None:
            self._report(runner, *found)

    def _order(self, sample: LandmarkDataSample) -> list[int]:
        """Return the places of the landmarks in a sample, those of a mirror image; the way there and back."""
        permutation = self._parts[0].schema.flip_permutation
        return permutation if sample.get("mirrored", False) else list(range(len(permutation)))

    def _apply(self, made: LabelRound) -> None:
        """Hand the labels to the data, also to that in worker processes."""
        start, labels = 0, made.among(list(self._ids)).labels
        for part in self._parts:
            part.pseudo_labels.set(labels[start : start + len(part)])
            start += len(part)

    def _network(self, runner: Runner) -> Any:
        """Return the network that is being trained, or its average.

        Raises:
            ValueError: It is to be an average, and the run keeps none.
        """
        if not self.averaged:
            return bare(runner)
        averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        if not averages:
            raise ValueError(_NO_AVERAGE)
        return averages[0]

    def _weight_after(self, epochs: float) -> float:
        """Return the weight of labels after so many epochs."""
        done = min((epochs - self.start) / self.ramp_up, 1.0) if self.ramp_up else 1.0
        return self.weight * math.exp(-5 * (1 - done) ** 2)

    # ---- report -------------------------------------------------------------------------------------

    def _report(self, runner: Runner, made: LabelRound, samples: Sequence[LandmarkDataSample]) -> str:
        """Write and log a round; return the hash of its file."""
        records = self._records()
        truth = np.stack([records[self._ids[name]]["hidden_landmarks"] for name in made.ids])
        dims = truth.shape[2]
        steps = [mm_steps(s.get("world_from_original"), s.get("spacing"), dims) for s in samples]
        known = [one for one in steps if one is not None]
        row = summary(made, truth, np.stack(known) if len(known) == len(steps) else None)
        self.rows.append(row)
        runner.logger.info(f"pseudo labels after epoch {made.epoch}: {described(row)}")
        return main_process_decides(lambda: self._write(runner, made))

    def _write(self, runner: Runner, made: LabelRound) -> str:
        whole = made.among(list(self._ids)) if self.by_epoch else made
        digest = whole.write(_file(runner, made.epoch), self._parts[0].metainfo["landmark_names"])
        write_state(Path(runner.work_dir, FOLDER, "rounds.json"), dict(rounds=self.rows))
        return digest

    def after_train(self, runner: Runner) -> None:
        """Draw the rounds, and the labels of a few landmarks."""
        if is_main_process() and self.rows:
            from mmlandmark.visualization.label_figure import plot_rounds

            folder = Path(runner.work_dir, FOLDER)
            plot_rounds(self.rows, folder / "rounds.png")
            draw_labels(self._parts, folder, [row["epoch"] for row in self.rows])

    def _records(self) -> list[dict[str, Any]]:
        """Return the records of all unlabelled images, without making one."""
        return [LandmarkDataset.get_data_info(part, i) for part in self._parts for i in range(len(part))]


def _file(runner: Runner, epoch: int) -> Path:
    return Path(runner.work_dir, FOLDER, f"epoch_{epoch}.json")


def _selected(selector: Any, epoch: int, samples: Sequence[LandmarkDataSample]) -> LabelRound:
    points = predicted_points(samples)
    names, sizes = [s.sample_id for s in samples], np.array([s.ori_shape[::-1] for s in samples])
    return LabelRound.of(epoch, names, points, selector.select(points, samples), sizes)
