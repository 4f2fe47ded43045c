"""A training labels images by its own network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmlandmark.datasets import EndlessDataset, PhantomDataset, leaf_datasets
from mmlandmark.engine import ConfigError, LandmarkRunner, check_run
from mmlandmark.engine.hooks import PseudoLabelHook
from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.engine.trained_detector import load_detector
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import file_hash

KEEP = dict(type="KeepAll")
EMA = dict(type="EMAHook", momentum=0.2)


def config(folder, hooks=(), workers=0, **hook):
    """Return the config of a run with four annotated phantoms and three without annotation."""
    return tiny_config(
        folder,
        max_epochs=2,
        custom_hooks=[dict(dict(type="PseudoLabelHook", selector=KEEP), **hook), *hooks],
        train_dataloader=dict(
            phantom_dataloader(num_workers=workers),
            sampler=dict(_delete_=True, type="LabelledShareSampler"),
            unlabelled=dict(offset=50, num_samples=3),
        ),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs with labels of every epoch."""
    folder = tmp_path_factory.mktemp("run")
    runner = LandmarkRunner.from_cfg(config(folder))
    runner.train()
    return runner, folder


def test_every_epoch_has_labels_of_the_network_before_it(run):
    runner, folder = run
    rows = json.loads((folder / "pseudo_labels" / "rounds.json").read_text())["rounds"]
    assert [(row["epoch"], row["images"], row["landmarks"]) for row in rows] == [(0, 3, 57), (1, 3, 57)]
    # The truth is only hidden: the report knows it.
    assert all(row["unit"] == "mm" and row["error_predicted"] == row["error_kept"] > 0 for row in rows)
    assert rows[0]["error_predicted"] != rows[1]["error_predicted"]
    for name in ("rounds.png", "labels.png"):
        assert (folder / "pseudo_labels" / name).stat().st_size > 1000
    assert isinstance(runner.train_dataloader.dataset, EndlessDataset)
    labelled, part = leaf_datasets(runner.train_dataloader.dataset)
    assert not labelled.unlabelled
    ids = [f"ceph_0_{50 + n:06d}" for n in range(3)]
    last = LabelRound.read(folder / "pseudo_labels" / "epoch_1.json", ids, (19, 2))
    np.testing.assert_array_equal(part.pseudo_labels.points, last.labels)
    state = load_checkpoint(folder / "epoch_2.pth")["hook_states"]["PseudoLabelHook"]
    assert state["latest"] == dict(epoch=1, sha256=file_hash(folder / "pseudo_labels" / "epoch_1.json"))
    assert state["rows"] == rows


def test_a_resumed_run_gets_its_own_labels_or_stops(run):
    runner, _ = run
    (state,) = (hook.state_dict() for hook in runner.hooks if isinstance(hook, PseudoLabelHook))
    _, part = leaf_datasets(runner.train_dataloader.dataset)
    labels = part.pseudo_labels.points
    part.pseudo_labels.set(np.full_like(labels, np.nan))
    resumed = PseudoLabelHook(selector=KEEP)
    resumed.load_state_dict(state)
    resumed.before_train(runner)
    np.testing.assert_array_equal(part.pseudo_labels.points, labels)
    assert resumed.state_dict() == state
    resumed.load_state_dict(dict(state, latest=dict(state["latest"], epoch=0)))
    with pytest.raises(ValueError, match=r"epoch_0\.json: these are not the labels that the checkpoint"):
        resumed.before_train(runner)
    resumed.load_state_dict(dict(state, latest=dict(state["latest"], epoch=7)))
    with pytest.raises(FileNotFoundError, match=r"epoch_7\.json: the checkpoint was trained with"):
        resumed.before_train(runner)
    for broken in (
        dict(state, latest=3),
        dict(state, rows=None),
        dict(latest=dict(epoch=-1, sha256=""), rows=[]),
    ):
        with pytest.raises(ValueError, match=r"latest|rows"):
            resumed.load_state_dict(broken)


def test_a_batch_is_labelled_by_the_network_as_it_is(run):
    runner, folder = run
    hook, model = PseudoLabelHook(by_epoch=False, selector=KEEP, weight=0.5), runner.model
    hook.before_train(runner)
    model.train()
    model.head.eval()
    dataset = runner.train_dataloader.dataset
    batch = pseudo_collate([dataset[0], dataset[5]])
    truth = batch["data_samples"][0].gt_landmarks.clone()
    hook.before_train_iter(runner, 0, batch)
    assert model.backbone.training
    assert not model.head.training
    labelled, labels = batch["data_samples"]
    torch.testing.assert_close(labelled.gt_landmarks, truth)
    assert set(labels.gt_weights.tolist()) == {0.5}
    model.eval()
    with torch.no_grad():
        again = model.test_step(dict(inputs=[batch["inputs"][1]], data_samples=[labels.clone()]))[0]
    # The image was turned, so that a corner of the input lies outside of it.
    again = again.pred_landmarks
    inside = ((again >= -0.5) & (again <= 63.5)).all(1)
    assert 0 < inside.sum() < 19
    assert labels.mask.tolist() == inside.tolist()
    torch.testing.assert_close(labels.gt_landmarks[inside], again[inside])
    assert labels.gt_landmarks[~inside].isnan().all()
    hook.after_train_epoch(runner)
    assert [(row["epoch"], row["images"]) for row in hook.rows] == [(2, 1)]
    content = json.loads((folder / "pseudo_labels" / "epoch_2.json").read_text())
    assert list(content["images"]) == [labels.sample_id]
    assert hook.state_dict()["latest"] is None


def predicted(model, index, pipeline):
    """Return what a network says of an unlabelled phantom in a view, (K, D) original pixels."""
    data = PhantomDataset("ceph", 1, (64, 64), offset=50 + index, pipeline=pipeline, serialize_data=False)
    model.eval()
    with torch.no_grad():
        return model.test_step(pseudo_collate([data[0]]))[0].pred_landmarks


CLEAN = phantom_dataloader(train=False)["dataset"]["pipeline"]


@pytest.mark.parametrize("pipeline", [None, [*CLEAN[:1], dict(type="Resize", size=(48, 56)), *CLEAN[2:]]])
def test_a_batch_is_labelled_by_its_clean_views(tmp_path, pipeline):
    runner = LandmarkRunner.from_cfg(config(tmp_path))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = PseudoLabelHook(by_epoch=False, clean_view=True, selector=KEEP, pipeline=pipeline)
    model, dataset = runner.model, runner.train_dataloader.dataset
    before = dataset[4]
    hook.before_train(runner)
    batch = pseudo_collate([dataset[4], dataset[0], dataset[6]])
    torch.testing.assert_close(batch["inputs"][0], before["inputs"], rtol=0, atol=0)
    hook.before_train_iter(runner, 0, batch)
    for index, sample in ((0, batch["data_samples"][0]), (2, batch["data_samples"][2])):
        clean = predicted(model, index, pipeline or CLEAN)
        torch.testing.assert_close(sample.gt_landmarks, clean)
        # The loss sees the points in the frame of the augmented view, by its own matrix.
        matrix = torch.from_numpy(sample.input_from_original)
        assert abs(matrix[0, 1]) > 1e-3
        here = clean.double() @ matrix[:2, :2].T + matrix[:2, 2]
        target = model.head.encode([sample], (64, 64), (64, 64), "cpu")
        torch.testing.assert_close(target.landmarks[0], here.float(), rtol=1e-5, atol=1e-4)
        own = model.test_step(dict(inputs=[batch["inputs"][index]], data_samples=[sample.clone()]))[0]
        assert (own.pred_landmarks - clean).norm(dim=1).max() > 0.5
    assert not any("clean_view" in sample for sample in batch["data_samples"])


def test_the_average_of_the_weights_labels(tmp_path):
    """In rounds and in batches, and the network that is trained is left alone."""
    runner = LandmarkRunner.from_cfg(config(tmp_path, [EMA], averaged=True))
    seen = []

    class Compare(PseudoLabelHook):
        def _apply(self, made):
            average, model = self._network(runner), runner.model
            both = [predicted(one, 2, CLEAN).numpy() for one in (average, model)]
            model.train()
            seen.append((made, *both))
            super()._apply(made)

    (hook,) = (one for one in runner.hooks if isinstance(one, PseudoLabelHook))
    hook.__class__ = Compare
    runner.train()
    (_, first, same), (made, average, trained) = seen
    np.testing.assert_array_equal(first, same)  # nothing has been averaged before the first step
    np.testing.assert_allclose(made.predicted[2], average, rtol=1e-5)
    assert np.abs(average - trained).max() > 0.1
    batch = pseudo_collate([runner.train_dataloader.dataset[6]])
    batches = PseudoLabelHook(by_epoch=False, averaged=True, clean_view=True, selector=KEEP)
    batches.before_train(runner)
    batch = pseudo_collate([runner.train_dataloader.dataset[6]])
    batches.before_train_iter(runner, 0, batch)
    average = predicted(batches._network(runner), 2, CLEAN)
    torch.testing.assert_close(batch["data_samples"][0].gt_landmarks, average)


def test_the_first_round_may_be_random(tmp_path):
    """Uniform over every image, the same in every run of a seed, and kept whatever a selector thinks."""
    never = dict(type="ShapeRegulator", way="masking", limit=1e-6)
    runs = {}
    for name, seed in (("a", 0), ("again", 0), ("other", 1)):
        given = config(tmp_path / name, first="random", interval=2, selector=never)
        given.train_cfg.max_epochs, given.randomness.seed = 3, seed
        runner = LandmarkRunner.from_cfg(given)
        runner.train()
        folder = tmp_path / name / "pseudo_labels"
        ids = list(json.loads((folder / "epoch_0.json").read_text())["images"])
        runs[name] = [LabelRound.read(folder / f"epoch_{n}.json", ids, (19, 2)) for n in (0, 2)]
    first, second = runs["a"]
    assert first.kept.all()
    assert not second.kept.any()
    assert ((first.points >= -0.5) & (first.points <= 63.5)).all()
    assert first.points.std(axis=1).min() > 10  # 18.5 of a uniform distribution over 64 pixels
    np.testing.assert_array_equal(first.points, first.predicted)
    np.testing.assert_array_equal(first.points, runs["again"][0].points)
    assert np.abs(first.points - runs["other"][0].points).min() > 0
    assert not sorted((tmp_path / "a" / "pseudo_labels").glob("epoch_1*"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A network that has been trained for an epoch, and sees images at another size."""
    folder = tmp_path_factory.mktemp("teacher")
    loader = phantom_dataloader(train=False)
    loader["dataset"]["pipeline"] = SMALL
    LandmarkRunner.from_cfg(
        tiny_config(folder, max_epochs=1, val_dataloader=loader, test_dataloader=loader)
    ).train()
    return folder / "epoch_1.pth"


SMALL = [*CLEAN[:1], dict(type="Resize", size=(48, 56)), *CLEAN[2:]]


@pytest.mark.parametrize("pipeline", [None, CLEAN])
def test_another_detector_labels_once(tmp_path, teacher, pipeline):
    """As it sees images itself, and without leaving a trace in checkpoints."""
    runner = LandmarkRunner.from_cfg(config(tmp_path, labeller=str(teacher), pipeline=pipeline))
    (hook,) = (one for one in runner.hooks if isinstance(one, PseudoLabelHook))
    keys = set(runner.model.state_dict())
    runner.train()
    model, _ = load_detector(teacher)
    files = sorted(path.name for path in (tmp_path / "pseudo_labels").glob("*.json"))
    assert files == ["epoch_0.json", "rounds.json"]
    ids = [f"ceph_0_{50 + n:06d}" for n in range(3)]
    made = LabelRound.read(tmp_path / "pseudo_labels" / "epoch_0.json", ids, (19, 2))
    for n in range(3):
        np.testing.assert_allclose(made.predicted[n], predicted(model, n, pipeline or SMALL), rtol=1e-5)
    _, part = leaf_datasets(runner.train_dataloader.dataset)
    np.testing.assert_array_equal(part.pseudo_labels.points, made.labels)
    checkpoint = load_checkpoint(tmp_path / "epoch_2.pth")
    assert set(checkpoint["state_dict"]) == keys
    described = checkpoint["meta"]["inputs"]["custom_hooks.0.labeller"]
    assert described == dict(source="epoch_1.pth", sha256=file_hash(teacher)[:16])
    # A resumed run reads the labels, and needs nobody who makes them.
    resumed = PseudoLabelHook(selector=KEEP, labeller=str(tmp_path / "gone.pth"))
    resumed.load_state_dict(hook.state_dict())
    part.pseudo_labels.set(np.full_like(made.labels, np.nan))
    resumed.before_train(runner)
    resumed.before_train_epoch(runner)
    np.testing.assert_array_equal(part.pseudo_labels.points, made.labels)


def test_a_labeller_that_does_not_fit_is_named_before_the_run(tmp_path, teacher):
    for wrong in (dict(interval=2), dict(averaged=True), dict(first="random")):
        with pytest.raises(ValueError, match=r"a labeller does not change, and labels once"):
            PseudoLabelHook(labeller="x.pth", **wrong)
    for wrong in (dict(labeller="x.pth"), dict(first="random")):
        with pytest.raises(ValueError, match="need rounds: by_epoch=True"):
            PseudoLabelHook(by_epoch=False, **wrong)
    with pytest.raises(ValueError, match="first must be 'network' or 'random', got 'zero'"):
        PseudoLabelHook(first="zero")
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        check_run(config(tmp_path, labeller=str(tmp_path / "gone.pth")), "run 'x'")
    with pytest.raises(ConfigError, match=r"run 'x': 'run:ssl:last' stands for a run that is not part"):
        check_run(config(tmp_path, labeller="run:ssl:last"), "run 'x'")
    check_run(config(tmp_path, labeller=str(teacher)), "run 'x'")
    renamed = LandmarkRunner.from_cfg(config(tmp_path, labeller=str(teacher)))
    renamed._train_loop = renamed.build_train_loop(renamed._train_loop)
    for part in leaf_datasets(renamed.train_dataloader.dataset):
        part._metainfo["landmark_names"] = [*part.metainfo["landmark_names"][:-1], "tip"]
    (hook,) = (one for one in renamed.hooks if isinstance(one, PseudoLabelHook))
    with pytest.raises(ValueError, match=r"labeller .*epoch_1\.pth: .*'tip' here; name a detector"):
        hook.before_train(renamed)


def test_the_weight_of_labels_grows(tmp_path):
    runner = LandmarkRunner.from_cfg(config(tmp_path))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    loop, dataset = runner.train_loop, runner.train_dataloader.dataset
    assert len(runner.train_dataloader) == 3
    hook = PseudoLabelHook(by_epoch=False, start=1, ramp_up=2, weight=0.5, selector=KEEP)
    hook.before_train(runner)
    weights = []
    for iteration in (0, 3, 6, 9, 12):
        loop._iter, batch = iteration, pseudo_collate([dataset[4]])
        hook.before_train_iter(runner, 0, batch)
        sample = batch["data_samples"][0]
        weights.append(float(sample.gt_weights[0]) if sample.mask.any() else None)
    assert weights[0] is None
    assert weights[1:] == pytest.approx([0.5 * np.exp(-5), 0.5 * np.exp(-1.25), 0.5, 0.5])


@pytest.mark.parametrize("rounds", [dict(interval=3), dict(labeller="teacher")])
def test_it_grows_between_rounds_too(tmp_path, teacher, rounds):
    if "labeller" in rounds:
        rounds = dict(labeller=str(teacher))
    runner = LandmarkRunner.from_cfg(config(tmp_path))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = PseudoLabelHook(start=1, ramp_up=2, weight=0.5, selector=KEEP, **rounds)
    hook.before_train(runner)
    _, part = leaf_datasets(runner.train_dataloader.dataset)
    weights = []
    for runner.train_loop._epoch in (1, 2, 3, 4):
        hook.before_train_epoch(runner)
        weights.append(float(part.pseudo_labels[0]["weights"][0]))
    assert weights == pytest.approx([0.5 * np.exp(-5), 0.5 * np.exp(-1.25), 0.5, 0.5])


def test_a_worker_makes_both_views(tmp_path):
    runner = LandmarkRunner.from_cfg(config(tmp_path))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    PseudoLabelHook(by_epoch=False, clean_view=True, selector=KEEP).before_train(runner)
    dataset = runner.train_dataloader.dataset
    (batch,) = DataLoader(dataset, batch_sampler=[[4, 6]], num_workers=1, collate_fn=pseudo_collate)
    here = pseudo_collate([dataset[4], dataset[6]])
    for n in range(2):
        views = [one["data_samples"][n].clean_view for one in (batch, here)]
        assert torch.equal(views[0]["inputs"], views[1]["inputs"])
        assert views[0]["data_samples"].sample_id == batch["data_samples"][n].sample_id
        assert not torch.equal(views[0]["inputs"], batch["inputs"][n])


def test_what_does_not_fit_is_named_before_the_run(tmp_path):
    for wrong in (
        dict(start=-1),
        dict(interval=0),
        dict(weight=0),
        dict(by_epoch=False, interval=2),
        dict(ramp_up=-1),
        dict(clean_view=True),
    ):
        with pytest.raises(ValueError, match="PseudoLabelHook"):
            PseudoLabelHook(**wrong)
    without = tiny_config(tmp_path, custom_hooks=[dict(type="PseudoLabelHook")])
    with pytest.raises(ConfigError, match=r"no unlabelled images.*train_dataloader\.unlabelled"):
        check_run(without, "run 'x'")
    endless = config(tmp_path)
    endless.train_cfg = dict(by_epoch=False, max_iters=2)
    with pytest.raises(ConfigError, match="a loop without epochs labels every batch"):
        check_run(endless, "run 'x'")
    early = config(tmp_path, workers=1, by_epoch=False, clean_view=True)
    early.train_cfg = dict(by_epoch=False, max_iters=2)
    with pytest.raises(ConfigError, match=r"workers of the loader start before clean_view.*num_workers=0"):
        check_run(early, "run 'x'")
    with pytest.raises(ConfigError, match=r"the run has none: add dict\(type='EMAHook'"):
        check_run(config(tmp_path, averaged=True), "run 'x'")
    runner = LandmarkRunner.from_cfg(config(tmp_path, averaged=True))
    with pytest.raises(ValueError, match=r"averaged=True labels by .* the run has none"):
        runner.train()
    nothing = config(tmp_path, start=3)
    nothing.train_dataloader.sampler.labelled = 0.0
    with pytest.raises(ConfigError, match=r"with start=3 nothing is learnt before"):
        check_run(nothing, "run 'x'")
    blind = config(tmp_path)
    blind.val_dataloader = blind.val_evaluator = blind.val_cfg = None
    with pytest.raises(ConfigError, match="without val_dataloader, give pipeline"):
        check_run(blind, "run 'x'")
    several = config(tmp_path)
    several.model.head.num_annotators = 2
    with pytest.raises(ConfigError, match="learns 2 annotators, and a pseudo label is of none"):
        check_run(several, "run 'x'")
    check_run(config(tmp_path), "run 'x'")
    check_run(config(tmp_path, [EMA], averaged=True), "run 'x'")
