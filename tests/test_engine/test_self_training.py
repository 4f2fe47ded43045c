"""What can go wrong in self-training: broken images, mirror images, workers that live on, kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import PseudoLabelHook
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.testing.forks import forked
from test_datasets import six_cases

KEEP = dict(type="KeepAll")


def config(folder, selector=KEEP, **hook):
    """Return the config of a run with four annotated phantoms and three without annotation."""
    return tiny_config(
        folder,
        max_epochs=2,
        custom_hooks=[dict(type="PseudoLabelHook", selector=selector, **hook)],
        train_dataloader=dict(
            phantom_dataloader(),
            sampler=dict(_delete_=True, type="LabelledShareSampler"),
            unlabelled=dict(offset=50, num_samples=3),
        ),
    )


def predict(model, image, sample):
    model.eval()
    with torch.no_grad():
        return model.test_step(dict(inputs=[image], data_samples=[sample.clone()]))[0].pred_landmarks


@pytest.mark.parametrize("clean_view", [False, True])
def test_in_a_mirror_image_labels_are_those_of_the_other_side(tmp_path, clean_view):
    flipped = phantom_dataloader(68, batch_size=1)
    flipped["dataset"]["pipeline"].insert(1, dict(type="RandomFlip", prob=1.0))
    settings = config(tmp_path, by_epoch=False, clean_view=clean_view)
    settings.train_dataloader.update(flipped, sampler=dict(type="LabelledShareSampler", labelled=0.0))
    for part in ("val", "test"):
        settings[f"{part}_dataloader"] = phantom_dataloader(68, train=False)
    settings.model.head.num_landmarks = 68
    runner = LandmarkRunner.from_cfg(settings)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, PseudoLabelHook))
    hook.before_train(runner)
    data = runner.train_dataloader.dataset[len(runner.train_dataloader.dataset) - 1]
    view = data["data_samples"].clean_view if clean_view else data
    predicted = predict(runner.model, view["inputs"], view["data_samples"])
    batch = pseudo_collate([data])
    hook.before_train_iter(runner, 0, batch)
    sample = batch["data_samples"][0]
    exchanged = torch.stack([predicted[1::2], predicted[0::2]], 1).flatten(0, 1)
    learnt, written = (exchanged, predicted) if clean_view else (predicted, exchanged)
    assert sample.mask.sum() > 10
    torch.testing.assert_close(sample.gt_landmarks[sample.mask], learnt[sample.mask])
    made, _ = hook._by_batch.gathered(0, [sample.sample_id])
    torch.testing.assert_close(torch.from_numpy(made.predicted[0]), written)


@pytest.mark.parametrize("by_epoch", [True, False])
def test_landmarks_that_are_probably_absent_have_no_label(tmp_path, by_epoch):
    """A detector that learns presence says a place of these, too."""
    settings = config(tmp_path, by_epoch=by_epoch)
    settings.model.head.presence = dict()
    runner = LandmarkRunner.from_cfg(settings)
    with torch.no_grad():
        runner.model.head.presence.layers[2].bias += torch.tensor([-50.0] * 10 + [50.0] * 9)
    runner.train()
    for epoch in (0, 1):
        file = tmp_path / "pseudo_labels" / f"epoch_{epoch}.json"
        for image in json.loads(file.read_text())["images"].values():
            assert [None in point for point in image["predicted"]] == [True] * 10 + [False] * 9
            assert not any(image["kept"][:10])


SEEN = []


class Look(Hook):
    """Note which samples have labels."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        SEEN.extend((runner.epoch, s.sample_id, bool(s.mask.any())) for s in data_batch["data_samples"])


def test_workers_that_were_there_before_the_first_labels_see_them(tmp_path):
    SEEN.clear()
    settings = config(tmp_path, start=1)
    settings.custom_hooks.append(dict(type=Look))
    settings.train_dataloader.update(num_workers=1, persistent_workers=True)
    runner = LandmarkRunner.from_cfg(settings)
    runner.train()
    runner.train_dataloader._iterator = None  # ends the worker
    unlabelled = [(epoch, there) for epoch, name, there in SEEN if name >= "ceph_0_000050"]
    assert unlabelled == [(0, False)] * 3 + [(1, True)] * 3


def with_broken_images(root, folder, **hook):
    """A run on files: two images without labels are cut off behind their headers, and two are not."""
    (root / "new").mkdir(exist_ok=True)
    for n, name in enumerate(("a.png", "b.jpg", "c.png", "d.png")):
        noise = np.random.default_rng(n).integers(0, 256, (64, 64)).astype(np.uint8)
        content = cv2.imencode(name[1:], noise)[1].tobytes()
        (root / "new" / name).write_bytes(content if name in ("a.png", "d.png") else content[:2000])
    steps = phantom_dataloader(train=False)["dataset"]["pipeline"]
    data = dict(type="LandmarkDataset", ann_file="all.json", data_root=str(root), image_dir="images")
    settings = config(folder, **hook)
    settings.model.head.num_landmarks = 3
    for part, split in (("train", "train"), ("val", "test"), ("test", "test")):
        settings[f"{part}_dataloader"].dataset = dict(data, split=split, pipeline=steps)
    del settings.train_dataloader["unlabelled"]
    images = dict(type="ImageFolderDataset", image_dir=str(root / "new"))
    settings.train_dataloader.update(unlabelled=images, num_workers=1)
    return settings


@pytest.mark.parametrize("hook", [dict(), dict(by_epoch=False, clean_view=True)])
def test_images_whose_pixels_are_broken_are_named_and_left_out(tmp_path, hook):
    root = six_cases.write(tmp_path)
    LandmarkRunner.from_cfg(with_broken_images(root, tmp_path / "run", **hook)).train()
    assert (tmp_path / "run" / "epoch_2.pth").is_file()
    rows = json.loads((tmp_path / "run" / "pseudo_labels" / "rounds.json").read_text())["rounds"]
    assert [(row["epoch"], row["images"]) for row in rows] == [(0, 2), (1, 2)]
    images = json.loads((tmp_path / "run" / "pseudo_labels" / "epoch_1.json").read_text())["images"]
    assert list(images) == (["a", "d"] if hook else ["a", "b", "c", "d"])
    if not hook:
        assert images["b"]["predicted"] == [[None, None]] * 3
        assert images["b"]["kept"] == [False] * 3
    (log,) = (tmp_path / "run").glob("*/*.log")
    left_out = [line for line in log.read_text().splitlines() if "unlabelled image left out" in line]
    assert len(left_out) == 2
    assert "b.jpg' cannot be read: the JPEG is cut off" in "".join(left_out)
    assert "c.png' cannot be read: the PNG is cut off" in "".join(left_out)


def test_a_run_without_an_image_that_can_be_read_stops(tmp_path):
    settings = with_broken_images(six_cases.write(tmp_path), tmp_path / "run")
    for name in ("a.png", "d.png"):
        (tmp_path / "new" / name).unlink()
    with pytest.raises(ValueError, match=r"none of 2 unlabelled images can be used; the first: .*b\.jpg'"):
        LandmarkRunner.from_cfg(settings).train()


# By rounds, by batches, and by rounds whose labels are adjusted to the annotated shapes, up to limits that
# some of the shapes that this network predicts keep to.
WAYS = {
    "rounds": dict(),
    "batches": dict(by_epoch=False),
    "regulated": dict(selector=dict(type="ShapeRegulator", limit=95.0)),
}


def alike(folder, world, way):
    """Return the config of a run whose gradients do not depend on the number of processes."""
    settings = config(folder, **WAYS[way])
    settings.model.backbone.norm_cfg = dict(type="IN")
    settings.model.head.loss = dict(type="EWCLoss", reduction="sum")
    settings.train_dataloader.update(batch_size=4 // world)
    settings.train_dataloader.unlabelled.num_samples = 4
    settings.launcher = "none" if world == 1 else "pytorch"
    return settings


def train_alike(folder, world, way):
    """Train and return the errors of the last validation."""
    runner = LandmarkRunner.from_cfg(alike(folder, world, way))
    runner.train()
    return float(runner.message_hub.get_scalar("val/mre").current())


def one_of_two(rank, port, folder, results):
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        GLOO_SOCKET_IFNAME="lo", CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    for way in WAYS:
        error = train_alike(folder / way, 2, way)
        if rank == 0:
            results.put(error)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the loopback device has another name elsewhere")
def test_two_processes_make_the_labels_and_errors_of_one(tmp_path):
    """Of trained networks, too, in every way, up to the rounding of sums of gradients."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    errors = [train_alike(tmp_path / "one" / way, 1, way) for way in WAYS]
    results = multiprocessing.get_context("fork").Queue()
    ranks = [forked(one_of_two, rank, port, tmp_path / "two", results, daemon=True) for rank in (0, 1)]
    together = [results.get(timeout=300) for _ in errors]
    for process in ranks:
        process.join()
        assert process.exitcode == 0
    assert together == pytest.approx(errors, rel=1e-4)
    for way, epoch in product(WAYS, (0, 1)):
        one, two = (
            json.loads((tmp_path / number / way / "pseudo_labels" / f"epoch_{epoch}.json").read_text())[
                "images"
            ]
            for number in ("one", "two")
        )
        assert list(one) == list(two)
        for name, image in one.items():
            assert image["kept"] == two[name]["kept"]
            for what in ("predicted", "points", "deviation"):
                expected, found = (np.array(i[what], float) for i in (image, two[name]))
                np.testing.assert_allclose(found, expected, atol=2e-2, err_msg=f"{way} {name} {what}")
            assert image["adjusted"] == two[name]["adjusted"]
        if (way, epoch) == ("regulated", 0):
            assert sorted(image["adjusted"] for image in one.values()) == [False, False, True, True]
            assert not all(kept for image in one.values() for kept in image["kept"])
