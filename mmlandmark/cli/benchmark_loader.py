"""Measure how fast images are loaded, against a plain OpenCV loop.

All ways of loading take turns in one process on one core, so that a busy machine slows all of them alike;
times are compared image by image within a turn. A second part measures what decoding a JPEG at reduced scale
changes.

    mmlandmark benchmark-loader $MMLANDMARK_DATA/isbi2015_ceph/RawImage/TrainingData --out loader.json
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import natural_number, positive_number
from mmlandmark.utils.files import atomic_write_json

REFERENCE = "plain_area"
LOOPS = {
    "plain_area": "cv2.imread(grey) + cv2.resize(INTER_AREA)",
    "plain_linear": "cv2.imread(grey) + cv2.resize(), which aliases",
    "plain_default": "cv2.imread(path) + cv2.resize(), colour and aliasing",
    "uncached": "LoadImage(size)",
    "cached_ram": "LoadImage(size), image cache in memory",
    "cached_disk": "LoadImage(size), image cache on disk",
}
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")

Loops = dict[str, Callable[[str], Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-loader``."""
    parser.add_argument(
        "folder", nargs="?", type=Path, help="folder of images; default generated JPEGs of 1935x2400"
    )
    parser.add_argument(
        "--size", nargs=2, type=positive_number, default=(320, 256), metavar=("HEIGHT", "WIDTH"),
        help="default 320 256",
    )  # fmt: skip
    parser.add_argument("--images", type=positive_number, default=20, help="images to load; default 20")
    parser.add_argument("--rounds", type=positive_number, default=6, help="turns of every loop; default 6")
    parser.add_argument(
        "--study-images", type=natural_number, default=6, help="images of the second part; default 6"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")


def run(args: argparse.Namespace) -> None:
    """Measure both parts, print and write them."""
    import cv2

    cv2.setNumThreads(1)
    size = tuple(args.size)
    with tempfile.TemporaryDirectory() as scratch:
        if args.folder is None:
            generated = Path(scratch, "images")
            generated.mkdir()
            make_images(generated, args.images)
        paths = find_images(args.folder or generated, args.images)
        table = measure(make_loops(size, os.path.join(scratch, "cache")), paths, args.rounds)
        study = study_reduction(paths[: args.study_images], size)
    print(f"{len(paths)} images, {args.rounds} rounds, to {size[0]}x{size[1]}, medians, one core\n")
    print_tables(table, study)
    if args.out is not None:
        result = dict(
            source="folder" if args.folder else "generated 1935x2400 JPEG",
            size=list(size),
            images=len(paths),
            rounds=args.rounds,
            reference=REFERENCE,
            loops=LOOPS,
            loader=table,
            reduced_decode=study,
            machine=describe_machine(),
        )
        atomic_write_json(args.out, result)
        print(f"\nwrote {args.out}")


def make_images(folder: Path, count: int) -> None:
    """Write ``count`` radiograph-like JPEGs of 1935x2400."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(count):
        image = np.zeros((2400, 1935), np.float32)
        for cells, height in ((6, 60.0), (40, 25.0), (240, 10.0)):
            coarse = rng.standard_normal((cells, cells), dtype=np.float32)
            image += height * cv2.resize(coarse, (1935, 2400), interpolation=cv2.INTER_CUBIC)
        image += 110 + 3 * rng.standard_normal(image.shape, dtype=np.float32)
        grey = np.clip(image, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), grey, [cv2.IMWRITE_JPEG_QUALITY, 75])


def find_images(folder: Path, count: int) -> list[str]:
    """Return up to ``count`` image paths of a folder.

    Raises:
        NotADirectoryError: It is not a folder.
        FileNotFoundError: It holds no images.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    paths = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no images ({', '.join(_SUFFIXES)})")
    return paths[:count]


def make_loops(size: tuple[int, int], cache_folder: str) -> Loops:
    """Return the ways of loading, each from a path to an array."""
    import cv2

    from mmlandmark.datasets.image_cache import ImageCache
    from mmlandmark.datasets.transforms import LoadImage

    load, wanted = LoadImage(size), tuple(size[::-1])
    caches = dict(uncached=None, cached_ram=ImageCache("ram"), cached_disk=ImageCache("disk", cache_folder))

    def ours(cache: ImageCache | None) -> Callable[[str], Any]:
        # Copied, since otherwise a cached array is returned without reading a single pixel.
        return lambda path: load(dict(img_path=path, image_cache=cache))["img"].copy()

    def plain(how: int, mode: int = cv2.IMREAD_GRAYSCALE) -> Callable[[str], Any]:
        def read(path: str) -> Any:
            image: Any = cv2.imread(path, mode)
            return cv2.resize(image, wanted, interpolation=how)

        return read

    return {
        "plain_area": plain(cv2.INTER_AREA),
        "plain_linear": plain(cv2.INTER_LINEAR),
        "plain_default": plain(cv2.INTER_LINEAR, cv2.IMREAD_COLOR),
        **{name: ours(cache) for name, cache in caches.items()},
    }


def measure(loops: Loops, paths: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Time all loops in turns and compare them in pairs: the same image in the same round."""
    for path in paths:  # fills the caches, including the system's cache of files
        for loop in loops.values():
            loop(path)
    names = list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for index in range(rounds):
        # A loop goes over all images before the next one does, as a loader would: the first image after
        # another loop pays for what that one did to the memory, up to a third of its own time.
        first = index % len(names)
        for name in names[first:] + names[:first]:
            loops[name](paths[-1])
            for path in paths:
                start = time.perf_counter()
                loops[name](path)
                seconds[name].append(time.perf_counter() - start)
    table = {}
    for name in names:
        median = statistics.median(seconds[name])
        row = dict(milliseconds=1e3 * median, images_per_second_per_core=1 / median)
        for other in ("plain_area", "plain_linear", "plain_default"):
            pairs = zip(seconds[other], seconds[name], strict=True)
            row[f"speedup_over_{other}"] = statistics.median(a / b for a, b in pairs)
        table[name] = {key: round(value, 4) for key, value in row.items()}
    return table


def study_reduction(paths: list[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Compare decoding at reduced scale with a full decode, both resized by area to the same pixels."""
    import numpy as np

    rows = []
    for factor in (1, 2):
        wanted = tuple(factor * side for side in size)
        studied = [found for path in paths if (found := _compare_decoding(path, wanted)) is not None]
        if studied:
            reductions, differences, shifts = zip(*studied, strict=True)
            percentiles = np.mean([np.percentile(d, (50, 95, 99)) for d in differences], axis=0)
            rows.append(
                dict(
                    size=list(wanted),
                    decoded_at=sorted({f"1/{reduction}" for reduction in reductions}),
                    images=len(studied),
                    mean_abs_difference_grey_levels=round(float(np.mean([d.mean() for d in differences])), 4),
                    percentiles_50_95_99=[round(float(value), 3) for value in percentiles],
                    largest_residual_shift_px=round(float(np.max(shifts)), 4),
                )
            )
    return rows


def _compare_decoding(path: str, size: tuple[int, ...]) -> tuple[int, Any, float] | None:
    """Return reduction, absolute differences (H, W) and shift in pixels for one image.

    None if it is not grey, or turned, as the reference would then have to reach beyond other sides.
    """
    import cv2
    import numpy as np

    from mmlandmark.datasets.image_io import read_image

    image, full = read_image(path, min_size=size), read_image(path).array
    if image.array.ndim != 2 or any(remark.check == "orientation tag" for remark in image.remarks):
        return None
    reduction = round(1 / image.img_from_original[0, 0])
    # A reduced image may reach beyond the original by a part of a pixel; the reference must, too.
    beyond = [n * reduction - m for n, m in zip(image.array.shape, full.shape, strict=True)]
    full = cv2.copyMakeBorder(full, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
    ours, theirs = (
        cv2.resize(array.astype(np.float64), size[::-1], interpolation=cv2.INTER_AREA)
        for array in (image.array, full)
    )
    window = cv2.createHanningWindow(size[::-1], cv2.CV_64F)
    x, y = cv2.phaseCorrelate(theirs, ours, window)[0]
    shift = math.hypot(x, y)
    return reduction, np.abs(ours - theirs), shift


def print_tables(table: dict[str, dict[str, float]], study: list[dict[str, Any]]) -> None:
    """Print both parts."""
    print(f"{'':14}{'ms':>9}{'images/s':>11}{'x plain_area':>14}{'x linear':>10}{'x default':>11}")
    for name, row in table.items():
        numbers = "{:9.3f}{:11.1f}{:14.2f}{:10.2f}{:11.2f}".format(*row.values())
        print(f"{name:14}{numbers}   {LOOPS[name]}")
    for row in study:
        print("\nreduced decode: " + ", ".join(f"{key} {value}" for key, value in row.items()))


def describe_machine() -> dict[str, Any]:
    """Return processor, versions and commit."""
    import cv2
    import numpy as np

    from mmlandmark.evaluation.record import git_commit
    from mmlandmark.utils.cpu import cpu_model
    from mmlandmark.version import __version__

    return dict(
        processor=cpu_model(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        opencv=cv2.__version__,
        numpy=np.__version__,
        mmlandmark=__version__,
        commit=git_commit(),
    )
