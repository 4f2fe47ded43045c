"""A resumed loop by iterations goes on with the very next batch, and reads none of those before it."""

from __future__ import annotations

import contextlib
import json
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import loops

from mmlandmark.datasets import PhantomDataset, ShardedDataset
from mmlandmark.datasets.shards import ShardWriter, StoredImage
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.data_position import LaterBatches
from mmlandmark.registry import HOOKS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import in_two, same_weights


@HOOKS.register_module()
class NotedIds(Hook):
    """Note the samples of every iteration, and end the run after one of them."""

    priority = "VERY_LOW"

    def __init__(self, file, last=None):
        self.file, self.last = file, last

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        ids = [sample.sample_id for sample in data_batch["data_samples"]]
        with open(f"{self.file}_{runner.rank}", "a") as file:
            file.write(json.dumps([runner.iter, ids, data_batch["inputs"][0].float().mean().item()]) + "\n")
        if self.last is not None and runner.iter + 1 == self.last:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Index of fourteen phantoms in five shards."""
    import cv2

    folder = tmp_path_factory.mktemp("shards")
    data = PhantomDataset("ceph", num_samples=14, size=(64, 64))
    with ShardWriter(folder, 7000) as writer:
        for index in range(len(data)):
            record = data.get_data_info(index)
            entry = dict(id=record["sample_id"], landmarks=record["landmarks"].tolist(), height=64, width=64)
            writer.add(entry, ".png", cv2.imencode(".png", record["img"])[1].tobytes())
        writer.finish(data.schema.to_dict())
    assert len(writer.shards) >= 4
    return folder / "index.json"


def config_of(shards, folder, last=None, **sampler):
    loader = phantom_dataloader()
    dataset = dict(type="ShardedDataset", ann_file=str(shards), pipeline=loader["dataset"]["pipeline"])
    config = tiny_config(
        folder / "run", custom_hooks=[dict(type="NotedIds", file=str(folder / "ids"), last=last)]
    )
    config.merge_from_dict(
        dict(
            train_dataloader=dict(
                loader,
                dataset=dict(dataset, _delete_=True),
                sampler=dict(type="ShardSampler", _delete_=True, **sampler),
            ),
            train_cfg=dict(_delete_=True, by_epoch=False, max_iters=19, val_interval=100),
            default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=5, by_epoch=False)),
            param_scheduler=[dict(type="LinearLR", start_factor=0.5, by_epoch=False, begin=0, end=10)],
        )
    )
    return config


def lines(folder, rank=0):
    return [json.loads(line) for line in (folder / f"ids_{rank}").read_text().splitlines()]


@pytest.mark.parametrize("sampler", [dict(buffer=3), dict(workers=2)])
def test_an_interrupted_run_sees_what_an_uninterrupted_one_sees(shards, tmp_path, monkeypatch, sampler):
    # Only for the loop, which sleeps between two passes.
    monkeypatch.setattr(loops, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    LandmarkRunner.from_cfg(config_of(shards, whole, **sampler)).train()
    expected = lines(whole)
    assert len({name for _, ids, _ in expected[:7] for name in ids}) == 14, "a pass is seven batches"
    with pytest.raises(KeyboardInterrupt):
        LandmarkRunner.from_cfg(config_of(shards, parts, last=13, **sampler)).train()
    assert lines(parts) == expected[:13]
    (parts / "ids_0").unlink()
    read, real = [], StoredImage.local
    monkeypatch.setattr(StoredImage, "local", lambda self: read.append(self.name) or real(self))
    config = config_of(shards, parts, **sampler)
    config.resume = True
    LandmarkRunner.from_cfg(config).train()
    assert lines(parts) == expected[10:], "from the checkpoint of iteration 10, in the middle of a pass"
    states = [load_checkpoint(folder / "run" / "iter_19.pth")["state_dict"] for folder in (whole, parts)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    looked_at = 14  # by the checks of the data, at most
    assert len(read) <= 2 * 9 + looked_at, "the batches before were not read again"


def train_in_two(shards, whole, parts):
    """Train without a break, and with one after 13 iterations, as one of two processes."""
    config = config_of(shards, whole, buffer=3)
    broken, resumed = config_of(shards, parts, last=13, buffer=3), config_of(shards, parts, buffer=3)
    resumed.resume = True
    resumed.custom_hooks[0].file = str(parts / "later_ids")
    for each in (config, broken, resumed):
        each.launcher = "pytorch"
        with contextlib.suppress(KeyboardInterrupt):
            LandmarkRunner.from_cfg(each).train()


@pytest.mark.slow
def test_two_processes_go_on_in_the_middle_of_a_pass(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    in_two(train_in_two, shards, whole, parts)
    expected = [lines(whole, rank) for rank in (0, 1)]
    seen = [{name for _, ids, _ in lines_of_one[:4] for name in ids} for lines_of_one in expected]
    assert [len(names) for names in seen] == [7, 7], "a pass is four batches of seven images"
    assert len(seen[0] | seen[1]) == 14
    for rank in (0, 1):
        assert lines(parts, rank) == expected[rank][:13]
        (parts / f"later_ids_{rank}").rename(parts / f"ids_{rank}")
        assert lines(parts, rank) == expected[rank][10:], "iteration 10 is the third of the third pass"
    same_weights(whole / "run" / "iter_19.pth", parts / "run" / "iter_19.pth")


def test_workers_go_on_where_those_before_stopped(shards):
    dataset = ShardedDataset(str(shards), pipeline=phantom_dataloader()["dataset"]["pipeline"])
    config = dict(phantom_dataloader(num_workers=2), dataset=dataset, sampler=dict(type="ShardSampler"))
    loader = LandmarkRunner.build_dataloader(config, seed=1)
    assert (loader.sampler.workers, loader.sampler.batch_size) == (2, 2)

    def ids(batch):
        return [sample.sample_id for sample in batch["data_samples"]]

    loader.sampler.set_epoch(1)
    expected = [ids(batch) for batch in loader]
    later = LaterBatches(loader, 7 + 3)
    assert [next(later) for _ in range(10)] == [None] * 10
    assert [ids(next(later)) for _ in range(4)] == expected[3:]


def test_batches_before_are_left_out_without_a_look_at_them():
    calls = []

    class Sampler:
        def set_epoch(self, epoch):
            calls.append(("epoch", epoch))

        def start_at(self, batches):
            calls.append(("start", batches))

    class Loader:
        sampler = Sampler()

        def __len__(self):
            return 4

        def __iter__(self):
            calls.append("iter")
            return iter("cd")

    batches = LaterBatches(Loader(), 10)
    assert [next(batches) for _ in range(10)] == [None] * 10
    assert calls == []
    assert [next(batches), next(batches)] == ["c", "d"]
    assert calls == [("epoch", 2), ("start", 2), "iter"]
