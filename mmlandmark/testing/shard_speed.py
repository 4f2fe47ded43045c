"""How fast images of shards are read, against loose files: on disk, and from a web server on this machine.

``python -m mmlandmark.testing.shard_speed RECORD.json`` packs generated JPEGs into shards. All ways take
turns at each image, in one process on one core; the server is another process. Every way is measured warm:
the system has the files in memory, so the times are those of the program, not of a disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmlandmark.datasets.shards import ShardedDataset, ShardWriter
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing.measure import median_ratio, paired_times
from mmlandmark.testing.range_server import RangeServer
from mmlandmark.utils.file_backends import open_backend
from mmlandmark.utils.files import atomic_write_json

LOOSE, WEB = "loose files on disk", "loose files, HTTP"
SHARDS, SHARDS_WEB, KEPT = "shards on disk", "shards, HTTP", "shards, HTTP, cache folder"
AGAINST = {SHARDS: LOOSE, WEB: LOOSE, SHARDS_WEB: WEB, KEPT: LOOSE}


def _serve(folder: str, pipe: Any) -> None:
    with RangeServer(folder) as server:
        pipe.send(server.url)
        server.serve_forever()


@contextmanager
def server_apart(folder: str | Path) -> Iterator[str]:
    """Serve a folder by another process until the block ends; yield its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(str(folder), there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def write_data(folder: Path, count: int, size: Sequence[int], most: int) -> list[Path]:
    """Write images as loose files and as shards; return the files.

    Args:
        folder: Gets the folders ``loose`` and ``shards``.
        count: Images.
        size: (H, W) of each.
        most: Bytes of a shard.
    """
    rng = np.random.default_rng(0)
    paths = []
    (folder / "loose").mkdir()
    with ShardWriter(folder / "shards", most) as writer:
        for number in range(count):
            coarse = rng.uniform(30, 220, (size[0] // 16, size[1] // 16)).astype(np.float32)
            image = cv2.resize(coarse, tuple(size[::-1]), interpolation=cv2.INTER_CUBIC)
            data = cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1].tobytes()
            paths.append(folder / "loose" / f"{number}.jpg")
            paths[-1].write_bytes(data)
            entry = dict(id=str(number), landmarks=[[1.0, 2.0]], height=size[0], width=size[1])
            writer.add(entry, ".jpg", data)
        writer.finish(dict(name="one", landmarks=["a"]))
    return paths


def ways_of_reading(folder: Path, url: str, paths: Sequence[Path]) -> dict[str, Callable[[int], object]]:
    """Return functions that read an image by its number, by their names."""
    load, backend = LoadImage(), open_backend(url)
    copy = folder / "copy.jpg"

    def from_web(number: int) -> None:
        copy.write_bytes(backend.get(f"{url}/loose/{paths[number].name}"))
        load(dict(sample_id="", img_path=str(copy)))

    def from_shards(where: str, **options: Any) -> Callable[[int], object]:
        return ShardedDataset(f"{where}/index.json", pipeline=[load], **options).__getitem__

    return {
        LOOSE: lambda number: load(dict(sample_id="", img_path=str(paths[number]))),
        SHARDS: from_shards(str(folder / "shards")),
        WEB: from_web,
        SHARDS_WEB: from_shards(f"{url}/shards"),
        KEPT: from_shards(f"{url}/shards", cache_dir=str(folder / "cache")),
    }


def measure(ways: Mapping[str, Callable[[int], object]], images: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every way for every image in every round; the ways take turns at each image."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for number in range(images):
            for name, times in paired_times(_at(ways, number), 1).items():
                seconds[name] += times
    return seconds


def _at(ways: Mapping[str, Callable[[int], object]], number: int) -> dict[str, Callable[[], object]]:
    return {name: partial(read, number) for name, read in ways.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--images", type=int, default=40, help="default 40")
    parser.add_argument("--size", type=int, nargs=2, default=(1200, 960), help="(H, W); default 1200 960")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every way; default 5")
    parser.add_argument("--shard-mib", type=int, default=2, help="size of a shard; default 2")
    options = parser.parse_args(arguments)
    load = round(os.getloadavg()[0], 1)  # of other programs, before this one adds to it
    made_by = dict(machine=machine(), load=load, versions=versions(), commit=git_commit())
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as name:
        folder = Path(name)
        paths = write_data(folder, options.images, options.size, options.shard_mib * 2**20)
        shards = len(list((folder / "shards").glob("*.tar")))
        size = sum(path.stat().st_size for path in paths)
        with server_apart(folder) as url:
            seconds = measure(ways_of_reading(folder, url, paths), options.images, options.rounds)
    rows: dict[str, dict[str, Any]] = {}
    for way, times in seconds.items():
        rows[way] = dict(milliseconds=round(1e3 * statistics.median(times), 3))
        if way in AGAINST:
            rows[way] |= dict(
                against=AGAINST[way], times_as_fast=round(median_ratio(seconds[AGAINST[way]], times), 4)
            )
        print(f"{way:<28} {rows[way]}")
    given = dict(
        images=options.images, size=list(options.size), rounds=options.rounds, bytes=size, shards=shards
    )
    atomic_write_json(options.record, dict(**given, **made_by, ways=rows))


if __name__ == "__main__":
    main()
