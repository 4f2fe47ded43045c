"""Windows over a large input: the maps of the whole, in the memory of a part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmlandmark.inference.sliding_window import use_windows, windowed_maps
from mmlandmark.models.detectors import MixedEnsemble
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config


def smooth(dims: int, stride: int = 1) -> nn.Module:
    """Return a network of one local filter, whose maps do not depend on what lies 3 pixels away."""
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    torch.manual_seed(0)
    return kind(1, 2, kernel_size=5 if stride == 1 else stride, stride=stride, padding=2 * (stride == 1))


class Counting:
    """Counts what a network sees."""

    def __init__(self, network) -> None:
        self.network, self.seen = network, []

    def __call__(self, inputs):
        self.seen.append(tuple(inputs.shape[2:]))
        return self.network(inputs)


@pytest.mark.parametrize(
    ("size", "window"), [((40, 37), (16, 16)), ((20, 24, 22), (12, 12, 12)), ((40, 30), (16, 99))]
)
def test_a_local_network_gives_the_same_inside(size, window):
    network = Counting(smooth(len(size)))
    inputs = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = network.network(inputs)
        fused = windowed_maps(network, inputs, window, overlap=0.5)
    assert fused.shape == whole.shape
    assert len(network.seen) > 2
    assert max(np.prod(seen) for seen in network.seen) <= np.prod(np.minimum(window, size))
    # At the border of a window its zero padding shows, but there other windows count more.
    assert (fused - whole).abs().max() < 0.1 * whole.abs().max()
    inner = [slice(2, 5)] * len(
        size
    )  # covered by the first window alone, at least two pixels from its border
    torch.testing.assert_close(fused[(..., *inner)], whole[(..., *inner)], atol=1e-2, rtol=0)


def test_values_are_the_weighted_mean_of_the_windows():
    """A network that returns its window's own mean: each map is constant, so the weights can be checked."""
    inputs = torch.arange(12.0).view(1, 1, 1, 12)
    fused = windowed_maps(lambda x: x.mean(-1, keepdim=True).expand_as(x), inputs, (1, 8), overlap=0.5)
    places = torch.arange(8) - 3.5
    weight = torch.exp(-0.5 * (places / 1.0) ** 2)  # an eighth of 8 pixels
    total, expected = torch.zeros(12), torch.zeros(12)
    for start, mean in ((0, 3.5), (4, 7.5)):
        total[start : start + 8] += weight
        expected[start : start + 8] += weight * mean
    torch.testing.assert_close(fused[0, 0, 0], expected / total)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_window_that_covers_the_input_changes_nothing(dims):
    network = Counting(smooth(dims))
    inputs = torch.randn(1, 1, *[12] * dims)
    assert torch.equal(windowed_maps(network, inputs, [12] * dims), network.network(inputs))
    assert torch.equal(windowed_maps(network, inputs, [99] * dims), network.network(inputs))
    assert len(network.seen) == 2


def test_maps_of_a_stride_are_laid_where_they_belong():
    network = smooth(2, stride=4)  # its filters do not overlap, so windows change nothing at all
    inputs = torch.randn(1, 1, 40, 24)
    with torch.inference_mode():
        torch.testing.assert_close(windowed_maps(network, inputs, (16, 8), 0.3), network(inputs))
    with pytest.raises(
        ValueError, match=r"window of \(18, 8\) gives maps of \(4, 2\).*multiples of the network's"
    ):
        windowed_maps(network, inputs, (18, 8))


def test_large_maps_go_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    network, inputs = smooth(2), torch.randn(1, 1, 30, 30)
    with torch.inference_mode():
        in_memory = windowed_maps(network, inputs, (16, 16))
        asked = []
        monkeypatch.setattr(
            torch, "from_file", lambda *a, real=torch.from_file, **k: asked.append(a) or real(*a, **k)
        )
        in_file = windowed_maps(network, inputs, (16, 16), in_memory=1000)
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == [], "it vanishes with the tensor"
    assert torch.equal(in_memory, in_file)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"a window of 3 axes \(8, 8, 8\) does not fit"):
        windowed_maps(smooth(2), torch.zeros(1, 1, 20, 20), (8, 8, 8))
    detector = MODELS.build(tiny_config("unused").model)
    with pytest.raises(ValueError, match="overlap of windows is a fraction"):
        use_windows(detector, (32, 32), 1.0)
    with pytest.raises(ValueError, match="window must be"):
        use_windows(detector, (0, 32))


def predicted(detector, inputs):
    samples = [
        LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=inputs.shape[2:], flip_pairs=((0, 1),)))
        for i in range(len(inputs))
    ]
    with torch.inference_mode():
        return detector.predict(inputs, samples)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_detector_in_windows_predicts_as_a_whole(dims):
    """Whole prediction is the same in one window; in several, mirroring and views go through windows too."""
    config = tiny_config("unused").model
    config.dims = dims
    torch.manual_seed(0)
    detector = MODELS.build(config).eval()
    detector.test_cfg.update(flip=True, views=[{}, dict(scale=1.1)], spread=True)
    inputs = torch.rand(2, 1, *[32] * dims, generator=torch.Generator().manual_seed(3))
    whole = predicted(detector, inputs)
    use_windows(detector, [32] * dims)
    for one, other in zip(whole, predicted(detector, inputs), strict=True):
        assert torch.equal(one.pred_landmarks, other.pred_landmarks)
        assert torch.equal(one.pred_spread, other.pred_spread)


def in_windows(config, inputs, window, **test_cfg):
    """Return the predictions without and with whole maps, and the whole maps."""
    results = []
    for whole in (False, True):
        torch.manual_seed(0)
        detector = MODELS.build(config).eval()
        detector.test_cfg.update(spread=True, keep_heatmaps=whole, **test_cfg)
        use_windows(detector, window)
        results.append(predicted(detector, inputs))
    return results


def head(codec, count=3, **options):
    options = dict(num_landmarks=count, loss=dict(type="EWCLoss")) | options
    return dict(type="HeatmapHead", codec=dict(type="GaussianHeatmapCodec", sigma=1.5, **codec), **options)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("codec", "flip"),
    [
        (dict(), True),
        (dict(activation="sigmoid", decoder="dark"), True),
        (dict(activation="softmax", decoder="quadratic"), False),
        (dict(activation="softmax"), True),
        (dict(decoder="soft_argmax"), False),
    ],
    ids=["plain flip", "sigmoid flip", "softmax", "softmax flip, whole", "soft_argmax, whole"],
)
def test_decoding_block_by_block_is_decoding_whole_maps(dims, codec, flip):
    """Points, scores, spread and presence of two annotators, mirrored and in views."""
    config = tiny_config("unused").model
    config.update(dims=dims, head=head(codec, num_annotators=2, presence=dict()))
    inputs = torch.rand(2, 1, *((40, 36), (24, 20, 28))[dims - 2], generator=torch.Generator().manual_seed(3))
    views = [{}, dict(scale=1.1)] if dims == 2 else None
    one, other = in_windows(config, inputs, [16] * dims, flip=flip, views=views)
    for mine, whole in zip(one, other, strict=True):
        assert mine.get("pred_heatmaps") is None
        assert whole.pred_heatmaps is not None
        for name in ("landmarks", "scores", "spread", "presence", "by_annotator"):
            expected = getattr(whole, f"pred_{name}")
            torch.testing.assert_close(getattr(mine, f"pred_{name}"), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_maps_in_a_file_are_activated_there(activation, monkeypatch):
    """One map or one block after the other: what is needed beside the file does not grow with it."""
    config = tiny_config("unused").model
    config.head = head(dict(activation=activation))
    torch.manual_seed(0)
    detector = MODELS.build(config).eval()
    inputs = torch.rand(2, 1, 40, 36, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        use_windows(detector, (16, 16))
        raw = detector.raw_maps(inputs)
        mirrored = detector.head.codec.mirrored(detector.raw_maps(inputs.flip(-1)), [0, 2, 1])
        codec, largest = detector.head.codec, []
        expected = (codec.activate(raw) + codec.activate(mirrored)) / 2
        activate = type(codec).activate
        monkeypatch.setattr(
            type(codec), "activate", lambda self, x: largest.append(x.numel()) or activate(self, x)
        )
        found = detector.heatmaps(inputs, [0, 2, 1])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    one_map, one_block = 40 * 36, 2 * 6 * 16 * 16
    assert max(largest) <= (one_map if activation == "softmax" else one_block) < found.numel()


@pytest.mark.parametrize(
    ("codec", "settings", "reason"),
    [
        (dict(), dict(), None),
        (dict(activation="softmax"), dict(), None),
        (dict(activation="softmax"), dict(flip=True), "averaged with that of the mirrored image"),
        (dict(decoder="blob_centroid"), dict(), "codec or decoder look at whole maps"),
        (dict(), dict(keep_heatmaps=True), "the maps themselves are asked for"),
    ],
)
def test_whole_maps_are_announced(codec, settings, reason, monkeypatch):
    config, said = tiny_config("unused").model, []
    monkeypatch.setattr("mmlandmark.inference.sliding_window.print_log", lambda text, *_: said.append(text))
    config.head = head(codec)
    detector = MODELS.build(config).eval()
    detector.test_cfg.update(settings)
    use_windows(detector, (16, 16))
    for _ in range(2):
        predicted(detector, torch.rand(1, 1, 32, 16))
    assert len(said) == (reason is not None)
    assert all(reason in text for text in said)


def test_detectors_of_patches_take_no_windows():
    part = tiny_config("unused").model
    detector = MODELS.build(
        dict(type="CoarseToFineDetector", coarse=part, fine=part, patch_size=16, shrink=2, dims=2)
    )
    with pytest.raises(ValueError, match="sees the image at a low resolution, then patches: leave window"):
        use_windows(detector, (16, 16))


@pytest.mark.parametrize("average", ["points", "heatmaps"])
def test_an_ensemble_decodes_block_by_block_where_it_needs_no_maps(average):
    config = tiny_config("unused").model
    torch.manual_seed(0)
    detector = MixedEnsemble([config, config], average).eval()
    detector.test_cfg.update(spread=True)
    inputs = torch.rand(2, 1, 40, 36, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        use_windows(detector, (16, 16))
        found = detector.detect(inputs, spread=True)
        detector.test_cfg.update(keep_heatmaps=True)
        whole = detector.detect(inputs, spread=True)
    assert (found.maps is None) == (average == "points")
    assert whole.maps.shape == (2, 19, 40, 36)
    torch.testing.assert_close(found.points, whole.points, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.scores, whole.scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.spread, whole.spread, atol=1e-3, rtol=1e-3)


def test_every_member_of_an_ensemble_sees_windows():
    config = tiny_config("unused").model
    detector = MixedEnsemble([config, config])
    for member in detector.members:
        member.backbone.forward = Counting(member.backbone.forward)
    use_windows(detector.eval(), (16, 16))
    predicted(detector, torch.rand(1, 1, 32, 16))
    for member in detector.members:
        assert member.backbone.forward.seen == [(16, 16)] * 3
