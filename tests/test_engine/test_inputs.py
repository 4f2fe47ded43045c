"""What a run is made of is known by its content, and stands in its checkpoints."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmlandmark.apis import train_config
from mmlandmark.datasets import PhantomDataset
from mmlandmark.engine.inputs import inputs_of, trained_on
from mmlandmark.evaluation import split_hash
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


def test_inputs_go_by_their_content(tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"teacher")
    (tmp_path / "start.pth").write_bytes(b"start")
    hashes = {name: hashlib.sha256(name.encode()).hexdigest()[:16] for name in ("teacher", "start")}
    start = str(tmp_path / "start.pth")
    config = Config(
        dict(
            model=dict(
                teacher=dict(checkpoint=str(tmp_path / "teacher.pth")),
                backbone=dict(init_cfg=[dict(type="Pretrained", checkpoint=start)]),
                neck=dict(init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18")),
            ),
            load_from=start,
        )
    )
    assert inputs_of(config) == {
        "model.teacher.checkpoint": dict(source="teacher.pth", sha256=hashes["teacher"]),
        "model.backbone.init_cfg.0.checkpoint": dict(source="start.pth", sha256=hashes["start"]),
        "model.neck.init_cfg.checkpoint": dict(source="torchvision://resnet18"),
        "load_from": dict(source="start.pth", sha256=hashes["start"]),
    }
    config.load_from = str(tmp_path / "gone.pth")
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        inputs_of(config)
    assert inputs_of(Config(dict(model=dict(type="UNet")))) == {}
    hooks = [
        dict(type="PseudoLabelHook", labeller=start),
        dict(type="TemplateHook", template=dict(ids=["a"])),
    ]
    named = dict(labels=dict(type="PseudoLabelHook", labeller=start), shapes=dict(type="ShapePriorHook"))
    content = dict(source="start.pth", sha256=hashes["start"])
    assert inputs_of(Config(dict(custom_hooks=hooks))) == {"custom_hooks.0.labeller": content}
    two = [dict(type="PseudoLabelHook", labeller=[start, start])]
    assert inputs_of(Config(dict(custom_hooks=two))) == {
        f"custom_hooks.0.labeller.{n}": content for n in (0, 1)
    }
    assert inputs_of(Config(dict(default_hooks=named))) == {"default_hooks.labels.labeller": content}


def test_training_data_goes_by_cases_and_annotation():
    data = PhantomDataset("ceph", num_samples=3, size=(32, 32), serialize_data=False)
    records = [data.get_data_info(i) for i in range(3)]
    wanted = split_hash([r["sample_id"] for r in records], [r["landmarks"] for r in records])
    digest = trained_on(data)
    assert (digest["images"], digest["hash"], len(digest["samples"])) == (3, wanted, 3)
    assert trained_on(torch.utils.data.TensorDataset(torch.zeros(2))) is None


def test_a_checkpoint_says_what_it_was_made_of(tmp_path):
    first = tiny_config(tmp_path / "first", max_epochs=1)
    train_config(first)
    start = tmp_path / "first" / "epoch_1.pth"
    second = tiny_config(
        tmp_path / "second",
        max_epochs=1,
        load_from=str(start),
        train_dataloader=phantom_dataloader(num_samples=6),
    )
    train_config(second)
    meta = load_checkpoint(tmp_path / "second" / "epoch_1.pth")["meta"]
    digest = hashlib.sha256(start.read_bytes()).hexdigest()[:16]
    assert meta["inputs"] == {"load_from": dict(source="epoch_1.pth", sha256=digest)}
    assert meta["trained_on"]["images"] == 6
    # Gone on with, it is still made of what it began with, though that is gone by now.
    start.unlink()
    second.train_cfg.max_epochs = 2
    train_config(second, resume="auto")
    assert load_checkpoint(Path(tmp_path, "second", "epoch_2.pth"))["meta"]["inputs"] == meta["inputs"]
