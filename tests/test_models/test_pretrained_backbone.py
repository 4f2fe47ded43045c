"""What backbones with published weights share: files, downloads, frozen stages, levels that are left out."""

from __future__ import annotations

import hashlib
import importlib

import pytest
import torch

from mmlandmark.models.backbones import VGG, DenseNet, HRNet, ResNet, pretrained_backbone
from test_models.backbone_cases import SMALL, build, name


@pytest.mark.parametrize("config", SMALL, ids=name)
def test_weights_from_a_file(config, tmp_path):
    torch.manual_seed(1)
    first, image = build(config).double(), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    weights = {k: v for k, v in first.state_dict().items() if not k.endswith("num_batches_tracked")}
    weights[f"{first.unused_prefixes[0]}weight"] = torch.zeros(3)
    path = tmp_path / "weights.pth"
    torch.save(dict(state_dict=weights), path)
    named = path.rename(tmp_path / f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    second = build(config, init_cfg=dict(type="Pretrained", checkpoint=str(named))).double()
    second.init_weights()
    for one, other in zip(first.eval()(image), second.eval()(image), strict=True):
        torch.testing.assert_close(one, other)

    # Grey images: exactly what the colour network makes of the same value in every channel.
    grey = build(config, in_channels=1, init_cfg=dict(type="Pretrained", checkpoint=str(named))).double()
    grey.init_weights()
    for one, other in zip(first(image[:, :1].expand(-1, 3, -1, -1)), grey.eval()(image[:, :1]), strict=True):
        torch.testing.assert_close(one, other)

    wrong = named.rename(tmp_path / "net-0123456789ab.pth")
    with pytest.raises(ValueError, match="its name says 0123456789ab"):
        build(config, init_cfg=dict(type="Pretrained", checkpoint=str(wrong))).init_weights()


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "vgg.pth"
    torch.save(VGG(widths=(4, 4, 4, 4, 4)).state_dict(), path)
    model = ResNet(18, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    with pytest.raises(ValueError, match="weights of another model"):
        model.init_weights()
    model.init_cfg["checkpoint"] = "torchvision://resnet19"
    with pytest.raises(ValueError, match="resnet19 is not known"):
        model.init_weights()
    model.init_cfg["checkpoint"] = str(tmp_path / "nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        model.init_weights()


def test_a_download_is_checked_and_kept(tmp_path, monkeypatch):
    content = tmp_path / "published.pth"
    torch.save(ResNet(18, base_channels=4).state_dict(), content)
    digest = hashlib.sha256(content.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    asked = []

    def download(url: str, path: str) -> None:
        asked.append(url)
        importlib.import_module("shutil").copyfile(content, path)

    monkeypatch.setattr("mmlandmark.utils.checkpoint.download", download)
    for hashed, error in ((digest, None), ("0000000a", "its name says 0000000a")):
        source = f"https://example.org/net-{hashed}.pth"
        model = ResNet(18, base_channels=4, init_cfg=dict(type="Pretrained", checkpoint=source))
        if error:
            with pytest.raises(ValueError, match=error):
                model.init_weights()
        else:
            model.init_weights()
            model.init_weights()
    assert len(asked) == 2
    assert [p.name for p in (tmp_path / "hub" / "checkpoints").iterdir()] == [f"net-{digest}.pth"]


def test_a_missing_network_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(url: str, path: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("mmlandmark.utils.checkpoint.download", download)
    model = DenseNet(init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet121"))
    with pytest.raises(ValueError, match=r"cannot be fetched: no route to host; .*densenet121-a639ec97"):
        model.init_weights()


def test_a_random_start_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(pretrained_backbone, "print_log", lambda text, **kwargs: logged.append(text))
    ResNet(18, base_channels=4).init_weights()
    assert len(logged) == 1
    assert logged[0].startswith("ResNet starts from random weights: set backbone.init_cfg")


@pytest.mark.parametrize("config", SMALL, ids=name)
def test_frozen_stages_stay_as_they_are(config):
    model = build(config, frozen_stages=1)
    frozen = [m for stage in model.stages()[:2] for m in stage]
    held = {id(p) for m in frozen for p in m.parameters()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    sum(level.square().mean() for level in model(torch.rand(2, 3, 64, 64))).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    for parameter in model.parameters():
        assert (parameter.grad is None) == (id(parameter) in held)
    statistics = {id(b) for m in frozen for b in m.buffers()}
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, before[key]) == (id(buffer) in statistics), key


@pytest.mark.parametrize("config", SMALL, ids=name)
def test_norm_eval_keeps_the_statistics(config):
    model = build(config, norm_eval=True)
    before = {k: v.clone() for k, v in model.named_buffers()}
    model(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(v, before[k]) for k, v in model.named_buffers())


@pytest.mark.parametrize("config", SMALL, ids=name)
def test_what_is_not_returned_is_not_built(config, tmp_path):
    whole = build(config)
    path = tmp_path / "weights.pth"
    torch.save(whole.state_dict(), path)
    part = build(config, out_indices=(1, 2), init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    part.init_weights()
    image = torch.rand(1, 3, 64, 64)
    for one, other in zip(part.eval()(image), whole.eval()(image)[1:3], strict=True):
        assert torch.equal(one, other)
    sum(level.square().mean() for level in part.train()(image.expand(2, -1, -1, -1))).backward()
    unused = [key for key, parameter in part.named_parameters() if parameter.grad is None]
    assert not unused, "parameters without a gradient stop distributed training"


def test_a_part_of_a_trained_detector_is_read(tmp_path):
    model = ResNet(18, base_channels=4)
    whole = {f"backbone.{k}": v for k, v in model.state_dict().items()} | {"head.bias": torch.ones(3)}
    torch.save(dict(state_dict=whole), tmp_path / "epoch_3.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "epoch_3.pth"), prefix="backbone.")
    other = ResNet(18, base_channels=4, init_cfg=[start])
    other.init_weights()
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items())
    other.init_cfg = dict(start, prefix="neck.")
    with pytest.raises(ValueError, match=r"no weights that begin with 'neck\.'"):
        other.init_weights()


@pytest.mark.parametrize("make", [DenseNet, VGG, ResNet, HRNet], ids=lambda c: c.__name__)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match="out_indices"):
        make(out_indices=(7,))
    with pytest.raises(ValueError, match="frozen_stages"):
        make(frozen_stages=9)
    if make is not HRNet:
        with pytest.raises(ValueError, match="depth must be one of"):
            make(depth=20)
