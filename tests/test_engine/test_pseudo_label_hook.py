"""A training labels images by its own network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmlandmark.datasets import EndlessDataset, leaf_datasets
from mmlandmark.engine import ConfigError, LandmarkRunner, check_run
from mmlandmark.engine.hooks import PseudoLabelHook
from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import file_hash

KEEP = dict(type="KeepAll")


def config(folder, **hook):
    return tiny_config(
        folder,
        max_epochs=2,
        custom_hooks=[dict(type="PseudoLabelHook", selector=KEEP, **hook)],
        train_dataloader=dict(
            phantom_dataloader(),
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
    assert (folder / "pseudo_labels" / "rounds.png").stat().st_size > 1000
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
    assert labels.gt_visibility.tolist() == [1] * 19
    assert set(labels.gt_weights.tolist()) == {0.5}
    model.eval()
    with torch.no_grad():
        again = model.test_step(dict(inputs=[batch["inputs"][1]], data_samples=[labels.clone()]))[0]
    torch.testing.assert_close(labels.gt_landmarks, again.pred_landmarks)
    hook.after_train_epoch(runner)
    assert [(row["epoch"], row["images"]) for row in hook.rows] == [(2, 1)]
    content = json.loads((folder / "pseudo_labels" / "epoch_2.json").read_text())
    assert list(content["images"]) == [labels.sample_id]
    assert hook.state_dict()["latest"] is None


def test_what_does_not_fit_is_named_before_the_run(tmp_path):
    for wrong in (dict(start=-1), dict(interval=0), dict(weight=0), dict(by_epoch=False, interval=2)):
        with pytest.raises(ValueError, match="PseudoLabelHook"):
            PseudoLabelHook(**wrong)
    without = tiny_config(tmp_path, custom_hooks=[dict(type="PseudoLabelHook")])
    with pytest.raises(ConfigError, match=r"no unlabelled images.*train_dataloader\.unlabelled"):
        check_run(without, "run 'x'")
    endless = config(tmp_path)
    endless.train_cfg = dict(by_epoch=False, max_iters=2)
    with pytest.raises(ConfigError, match="a loop without epochs labels every batch"):
        check_run(endless, "run 'x'")
    check_run(config(tmp_path), "run 'x'")
