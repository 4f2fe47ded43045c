"""Backbones: published sizes and names, taps, frozen stages, weights from files."""

from __future__ import annotations

import hashlib
import importlib

import pytest
import torch

from mmlandmark.models.backbones import VGG, DenseNet, HRNet, PretrainedBackbone, ResNet, pretrained_backbone
from mmlandmark.registry import MODELS

# Parameters of what torchvision (and the official HRNet, for poses) publishes, without the classifier.
PARAMETERS = [
    (dict(type="DenseNet", depth=121), 6_953_856),
    (dict(type="DenseNet", depth=169), 12_484_480),
    (dict(type="VGG", depth=16), 14_714_688),
    (dict(type="VGG", depth=16, batch_norm=True), 14_723_136),
    (dict(type="VGG", depth=19), 20_024_384),
    (dict(type="VGG", depth=19, batch_norm=True), 20_035_392),
    (dict(type="ResNet", depth=18), 11_176_512),
    (dict(type="ResNet", depth=34), 21_284_672),
    (dict(type="ResNet", depth=50), 23_508_032),
    (dict(type="ResNet", depth=101), 42_500_160),
    (dict(type="ResNet", depth=152), 58_143_808),
    (dict(type="HRNet", width=18, out_indices=(0,)), 9_317_892),
]
TAPS = [
    (dict(type="DenseNet", depth=121), [64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
    (dict(type="DenseNet", depth=169), [64, 256, 512, 1280, 1664], [2, 4, 8, 16, 32]),
    (dict(type="VGG", depth=16), [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
    (dict(type="VGG", depth=19, batch_norm=True), [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
    (dict(type="ResNet", depth=18), [64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
    (dict(type="ResNet", depth=101), [64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),
    (dict(type="HRNet", width=18), [18, 36, 72, 144], [4, 8, 16, 32]),
    (dict(type="HRNet", width=32), [32, 64, 128, 256], [4, 8, 16, 32]),
]
SMALL = [
    dict(type="DenseNet", growth_rate=4, block_layers=(2, 2, 2, 2), stem_channels=8),
    dict(type="VGG", batch_norm=True, widths=(4, 4, 8, 8, 8)),
    dict(type="ResNet", depth=18, base_channels=4),
    dict(type="HRNet", width=4, modules=(1, 1, 1)),
]


def name(value: object) -> str:
    return "-".join(str(v) for v in value.values()) if isinstance(value, dict) else ""


def build(config: dict, **kwargs) -> PretrainedBackbone:
    return MODELS.build(dict(config, **kwargs))


@pytest.mark.parametrize(("config", "expected"), PARAMETERS, ids=name)
def test_parameters(config, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(config).parameters()) == expected


@pytest.mark.parametrize(("config", "channels", "strides"), TAPS, ids=name)
def test_taps(config, channels, strides):
    with torch.device("meta"):
        model = build(config)
        levels = model(torch.empty(1, 3, 64, 96))
    assert model.out_channels == channels
    assert model.strides == strides
    shapes = [(1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == shapes


@pytest.mark.parametrize(
    ("config", "origin"),
    [
        (dict(type="DenseNet", depth=121), "densenet121"),
        (dict(type="DenseNet", depth=169), "densenet169"),
        (dict(type="VGG", depth=16), "vgg16"),
        (dict(type="VGG", depth=19, batch_norm=True), "vgg19_bn"),
        (dict(type="ResNet", depth=18), "resnet18"),
        (dict(type="ResNet", depth=50), "resnet50"),
    ],
    ids=name,
)
def test_torchvision_computes_the_same(config, origin, tmp_path):
    models = pytest.importorskip("torchvision.models", reason="compares with torchvision")
    torch.manual_seed(0)
    theirs = getattr(models, origin)(weights=None).eval()
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    ours = build(config, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    ours.init_weights()
    ours.eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        last = ours(image)[-1]
        if config["type"] == "ResNet":
            found = []
            theirs.layer4.register_forward_hook(lambda m, i, out: found.append(out))
            theirs(image)
            expected = found[0]
        else:
            expected = theirs.features(image)
            last = torch.max_pool2d(last, 2) if config["type"] == "VGG" else last
    assert torch.equal(last, expected)


def test_names_are_those_of_the_official_hrnet():
    names = set(HRNet(width=18).state_dict())
    for published in (
        "conv2.weight",
        "bn2.running_var",
        "layer1.0.downsample.0.weight",
        "transition1.0.0.weight",
        "transition1.1.0.0.weight",
        "stage2.0.branches.1.3.bn2.bias",
        "stage2.0.fuse_layers.0.1.0.weight",
        "stage3.3.fuse_layers.2.0.0.0.weight",
        "stage3.3.fuse_layers.2.0.1.1.weight",
        "transition3.3.0.1.running_mean",
        "stage4.2.fuse_layers.3.0.2.0.weight",
    ):
        assert published in names


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

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
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


def test_no_network_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(url: str, path: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    model = DenseNet(init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet121"))
    with pytest.raises(ValueError, match=r"cannot be fetched: no route to host; .*densenet121-a639ec97"):
        model.init_weights()


def test_names_of_the_first_published_densenet():
    model = DenseNet(growth_rate=4)
    old = "features.denseblock1.denselayer2.norm.1.weight"
    assert model.rename(old) == "features.denseblock1.denselayer2.norm1.weight"
    assert all(model.rename(new) == new for new in model.state_dict())


def test_a_random_start_is_said(monkeypatch):
    said = []
    monkeypatch.setattr(pretrained_backbone, "print_log", lambda text, **kwargs: said.append(text))
    ResNet(18, base_channels=4).init_weights()
    assert len(said) == 1
    assert said[0].startswith("ResNet starts from random weights: set backbone.init_cfg")


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


@pytest.mark.parametrize(
    "config", [*SMALL, dict(type="UNet", in_channels=3, widths=(4, 8), norm_cfg=dict(type="BN"))], ids=name
)
def test_recomputing_changes_nothing(config):
    torch.manual_seed(2)
    plain, spared = build(config).train(), build(config, with_checkpoint=True).train()
    spared.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 64, 64)
    for model in (plain, spared):
        calls, convolutions = [], [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        for convolution in convolutions:
            convolution.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        loss = sum(level.square().mean() for level in model(image))
        loss.backward(retain_graph=True)
        assert (len(calls) > len(convolutions)) == (model is spared)
        before = next(model.parameters()).grad.clone()
        loss.backward()  # over the same graph once more
        torch.testing.assert_close(next(model.parameters()).grad, 2 * before)
    for (key, one), other in zip(plain.named_parameters(), spared.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=key)
    for (key, one), other in zip(plain.named_buffers(), spared.buffers(), strict=True):
        assert torch.equal(one, other), f"{key}: a batch must be counted once"


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


def test_sides_that_do_not_halve_are_named():
    with pytest.raises(ValueError, match="size_divisor=32"):
        HRNet(width=4, modules=(1, 1, 1))(torch.rand(1, 3, 100, 100))


@pytest.mark.parametrize("make", [DenseNet, VGG, ResNet, HRNet], ids=lambda c: c.__name__)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match="out_indices"):
        make(out_indices=(7,))
    with pytest.raises(ValueError, match="frozen_stages"):
        make(frozen_stages=9)
    if make is not HRNet:
        with pytest.raises(ValueError, match="depth must be one of"):
            make(depth=20)
