"""Every rule on size, network and schedule, by table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmlandmark.apis import count_costs
from mmlandmark.models.backbones import UNet
from mmlandmark.planning import budget_rules
from mmlandmark.planning.budget_rules import Network, Speed, network_for
from mmlandmark.registry import MODELS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("median", "first", "last"),
    [
        ((2400, 1935), (128, 96), (1024, 832)),
        ((400, 650), (80, 128), (400, 640)),
        ((48, 64), (96, 128), (96, 128)),  # small images are enlarged to the smallest input
        ((300, 900), (48, 128), (256, 768)),
        ((100, 200, 200), (16, 32, 32), (80, 160, 160)),
    ],
)
def test_input_sizes_have_the_proportions_of_the_images(median, first, last):
    sizes = budget_rules.input_sizes(median)
    assert (sizes[0], sizes[-1]) == (first, last)
    step = 16 if len(median) == 2 else 8
    assert all(side % step == 0 for size in sizes for side in size)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("median", "stem"),
    [((48, 64), 1), ((200, 255), 1), ((200, 256), 2), ((2400, 1935), 2), ((300, 300, 300), 1)],
)
def test_stem_follows_from_the_images(median, stem):
    assert budget_rules.choose_stem(median) == stem


@pytest.mark.parametrize(
    ("size", "stem", "levels"),
    [
        ((96, 128), 1, 5),
        ((192, 192), 1, 6),
        ((256, 256), 2, 6),
        ((144, 256), 2, 5),
        ((48, 128), 2, 3),
        ((32, 48, 48), 1, 4),
    ],
)
def test_levels_follow_from_the_size(size, stem, levels):
    network = network_for(size, 1, 5, stem)
    assert (network.stem_stride, len(network.widths)) == (stem, levels)
    words = budget_rules.describe_network(network)
    assert f"{levels} levels" in words.why
    UNet(in_channels=1, dims=len(size), **words.value)(torch.zeros(1, 1, *size))  # every side is long enough


@pytest.mark.parametrize(
    ("median", "minutes", "images", "installed", "published", "why"),
    [
        ((2400, 1935), 30, 150, True, True, "for 150 images"),
        ((2400, 1935), 30, 150, False, False, "random weights"),
        ((48, 64), 30, 150, True, False, "256 pixels"),
        ((200, 300, 300), 30, 150, True, False, "random weights"),
        ((2400, 1935), 10, 150, True, False, "from 20 minutes on"),
        ((2400, 1935), 30, 501, True, False, "501 images are enough"),
    ],
)
def test_start(median, minutes, images, installed, published, why):
    choice = budget_rules.choose_start(median, minutes, images, installed)
    assert choice.value is published
    assert why in choice.why


def test_larger_candidates_cost_more():
    costs = [network.multiply_adds() for network in NETWORKS]
    assert costs == sorted(costs)


def test_thick_slices_have_strides_and_kernels_of_their_own():
    network = network_for((16, 64, 64), 1, 5, spacing=(1.0, 1.0, 4.0))
    words = budget_rules.describe_network(network)
    assert words.value == dict(
        widths=[8, 16, 32, 64, 128],
        strides=[[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
        kernel_sizes=[[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
    )
    assert "5 levels, down to 4x4x4 voxels; thick slices" in words.why
    cubes = network_for((64, 64, 64), 1, 5, spacing=(1.0, 1.0, 1.0))
    assert budget_rules.describe_network(cubes).value == dict(widths=[8, 16, 32, 64, 128])


def test_volumes_fit_the_memory():
    networks = [network_for((side,) * 3, 1, 20, spacing=(1.0,) * 3) for side in (32, 64, 128)]
    needed = networks[1].training_bytes()
    assert budget_rules.fitting_networks(networks, 2.1 * needed) == networks[:2]
    assert budget_rules.fitting_networks(networks, 2.1 * needed, largest=2.0) == networks[:1]
    assert budget_rules.fitting_networks(networks, 10.0) == networks[:1]


@pytest.mark.parametrize(
    "network",
    [
        network_for((32, 48), 3, 5),
        network_for((256, 128), 1, 5, 2),
        network_for((32, 32, 32), 1, 5, spacing=(1.0, 1.0, 1.0)),
        network_for((16, 64, 32), 1, 5, spacing=(1.0, 1.0, 4.0)),
    ],
)
def test_multiplications_are_those_of_the_network(network):
    base = "unet6" if network.dims == 2 else "unet_volumes"
    unet = Config.fromfile(f"{ROOT}/configs/_base_/models/{base}.py").model.backbone.to_dict()
    unet.update(budget_rules.describe_network(network).value, in_channels=network.channels)
    head = dict(type="HeatmapHead", num_landmarks=network.landmarks, codec=dict(type="HeatmapCodec", sigma=2))
    head["loss"] = dict(type="HeatmapMSELoss")
    detector = MODELS.build(dict(type="LandmarkDetector", backbone=unet, head=head, dims=network.dims))
    (whole,) = count_costs(detector, (network.channels, *network.size), depth=0)
    assert network.multiply_adds() == pytest.approx(whole.macs)


NETWORKS = [network_for(size, 1, 5, 2) for size in budget_rules.input_sizes((800, 640))]


@pytest.mark.parametrize(
    ("minutes", "images", "size"),
    [
        (100000, 100, (768, 608)),  # not beyond the images
        (5, 100, (384, 304)),
        (5, 3000, (192, 160)),  # every image at least twice
        (0.01, 100, (128, 96)),
    ],
)
def test_size_is_the_largest_that_sees_enough_images(minutes, images, size):
    seconds = {n.size: n.size[0] ** 2 / 1e6 for n in NETWORKS}
    choice = budget_rules.choose_size(NETWORKS, seconds, minutes, images)
    seen = 60 * minutes / seconds[choice.value]
    assert choice.value == size
    assert seen >= max(budget_rules.ENOUGH_IMAGES, 2 * images) or "is a short time" in choice.why


def test_probes_are_a_small_and_a_middle_size():
    assert [max(n.size) for n in budget_rules.probes(NETWORKS)] == [128, 320]
    assert len(budget_rules.probes(NETWORKS[:1])) == 1


def test_seconds_are_measured_or_on_a_line():
    measured = {n.size: Speed(4 * (0.01 + 1e-9 * n.multiply_adds()), 0, 0, 4) for n in NETWORKS[:2]}
    seconds = budget_rules.seconds_per_image(NETWORKS, measured)
    assert seconds[NETWORKS[-1].size] == pytest.approx(0.01 + 1e-9 * NETWORKS[-1].multiply_adds())
    one = {NETWORKS[1].size: Speed(0.4, 0, 0, 4)}
    seconds = budget_rules.seconds_per_image(NETWORKS, one)
    ratio = NETWORKS[-1].multiply_adds() / NETWORKS[1].multiply_adds()
    assert seconds[NETWORKS[-1].size] == pytest.approx(0.1 * ratio)


@pytest.mark.parametrize(
    ("size", "gigabytes", "images", "batch"),
    [
        ((320, 256), 8, 100, 4),
        ((320, 256), 0.7, 100, 2),
        ((320, 256), 0.01, 100, 1),
        ((320, 256), 8, 3, 2),
        ((64, 64, 64), 8, 100, 1),
    ],
)
def test_batch_fits_the_memory(size, gigabytes, images, batch):
    assert budget_rules.choose_batch(network_for(size, 1, 20), gigabytes * 2**30, images).value == batch


@pytest.mark.parametrize(
    ("iteration", "minutes", "images", "epochs", "why"),
    [
        (0.5, 10, 100, 43, "about 9.2 minutes"),
        (0.5, 1000, 100, 120, "more would not help"),
        (0.5, 0.2, 100, 1, "12 s is too short a time for a good detector"),
    ],
)
def test_epochs_fill_the_time(iteration, minutes, images, epochs, why):
    choice, expected = budget_rules.choose_epochs(Speed(iteration, 0.01, 6.0, 4), minutes, images, 10)
    assert choice.value == epochs
    assert why in choice.why
    assert expected == pytest.approx((6 + 1.1 + 4 * (10 * 0.05 + 1.0) + epochs * 25 * iteration) / 60)
    assert expected <= minutes or epochs == 1


@pytest.mark.parametrize(
    ("size", "stem", "sigma"),
    [((96, 128), 1, 2.0), ((48, 128), 1, 1.5), ((640, 512), 2, 2.0), ((120, 256), 2, 1.5)],
)
def test_sigma_is_a_few_pixels_of_the_map(size, stem, sigma):
    value = budget_rules.choose_sigma(network_for(size, 1, 5, stem)).value
    assert value["sigma"] == sigma
    assert value["window"] >= 2 * sigma


def test_schedule():
    assert budget_rules.choose_schedule(2, 30) == dict(lr=2e-3, val_interval=8, save=4)
    assert budget_rules.choose_schedule(3, 1) == dict(lr=1e-3, val_interval=1, save=1)


def test_a_network_knows_its_dimensions():
    assert Network((8, 8, 8), 1, (8, 16), 1, 3).dims == 3
    assert Network((8, 8), 1, (8, 16), 1, 3).training_bytes() > 0
