"""What a training costs on many processes: a model of a step, of an epoch and of a round of labels.

``python -m mmlandmark.testing.cost_model RECORD.json`` writes the model's table for 1 to 64 processes.
What a CPU does is measured: reading is taken from ``loader.json`` and ``two_ranks_cpu.json`` in
``docs/benchmarks``. What a GPU and a network do is assumed, and the record says so. ``--render PAGE`` writes
the table of a page from ``benchmarks/scaling_model.json`` beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import atomic_write_json, read_json
from mmlandmark.utils.table_text import markdown_table, rewrite

NAME = "scaling_model"
RANKS = (1, 2, 8, 64)
SPEEDS = (100.0, 400.0, 1600.0)  # images a GPU trains with per second, assumed
SOURCES = {"image files": "uncached", "disk cache": "cached_disk"}  # in loader.json
FLOAT = 4  # bytes
BACKWARD = 2 / 3  # of a step, in which gradients are exchanged bucket by bucket


@dataclass(frozen=True)
class Costs:
    """What one process needs, and what connects it to the others.

    Attributes:
        step_seconds: Of a step of one process, without reading.
        batch: Images of a step in one process.
        parameters: Of the network.
        reading_seconds: Of one image on one core: read, transformed and packed.
        cores: That read for one process.
        labelling_seconds: Of one image, to make its pseudo labels, without reading.
        node: Processes on one machine.
        inside: Bytes per second between processes of one machine.
        between: Bytes per second between machines, each way, of one machine.
        overlaps: Whether gradients are exchanged during the backward pass, as on GPUs. On CPUs the same cores
            do both.
    """

    step_seconds: float
    batch: int
    parameters: int
    reading_seconds: float
    cores: float = 1
    labelling_seconds: float = 0.0
    node: int = 8
    inside: float = 1e11
    between: float = 1e10
    overlaps: bool = True

    def exchanged_bytes(self, ranks: int) -> float:
        """Return what every process sends in a step, by a ring: 4 bytes x parameters x 2 (N - 1) / N.

        Example:
            >>> Costs(1.0, 1, 1000, 0.0).exchanged_bytes(2)
            4000.0
        """
        return FLOAT * self.parameters * 2 * (ranks - 1) / ranks

    def exchange_seconds(self, ranks: int) -> float:
        """Return how long that takes, over the slowest connection."""
        return self.exchanged_bytes(ranks) / (self.inside if ranks <= self.node else self.between)

    def step(self, ranks: int) -> dict[str, float]:
        """Return the seconds of a step: computing, waiting for the exchange, reading, and all of it.

        Images are read while the step before is computed, so the slower of both counts.
        """
        exchange = self.exchange_seconds(ranks)
        hidden = BACKWARD * self.step_seconds if self.overlaps else 0.0
        waiting = max(0.0, exchange - hidden)
        reading = self.batch * self.reading_seconds / self.cores
        computing = self.step_seconds
        return dict(
            computing=computing, exchange=exchange, waiting=waiting, reading=reading,
            whole=max(computing + waiting, reading),
        )  # fmt: skip

    def row(self, ranks: int, images: int) -> dict[str, Any]:
        """Return what so many processes do with so many images.

        Args:
            ranks: Number of processes.
            images: Of an epoch, and of a round of labels.
        """
        step = self.step(ranks)
        speed = ranks * self.batch / step["whole"]
        alone = self.batch / self.step(1)["whole"]
        label = max(self.labelling_seconds, self.reading_seconds / self.cores)
        parts = dict(computing=step["computing"] + step["waiting"], reading=step["reading"])
        slowest = max(parts, key=lambda name: parts[name])
        return dict(
            ranks=ranks,
            images_per_second=round(speed, 1),
            efficiency=round(speed / (ranks * alone), 4),
            exchange_seconds=round(step["exchange"], 6),
            waiting_share=round(step["waiting"] / step["whole"], 4),
            epoch_minutes=round(images / speed / 60, 2),
            labels_minutes=round(images * label / ranks / 60, 2),
            limit="reading" if slowest == "reading" else "network" if step["waiting"] else "computing",
        )

    @property
    def cores_needed(self) -> float:
        """Cores per process at which reading keeps up with computing."""
        return self.batch * self.reading_seconds / self.step_seconds


def assumed(speed: float, reading_seconds: float, parameters: int, batch: int = 16, cores: int = 8) -> Costs:
    """Return the costs of a GPU that is assumed to train with so many images per second.

    Labels need a forward pass alone, a third of the work.
    """
    step = batch / speed
    return Costs(step, batch, parameters, reading_seconds, cores, labelling_seconds=1 / (3 * speed))


def model_record(
    loader: Mapping[str, Any], two: Mapping[str, Any] | None, images: int, parameters: int
) -> dict[str, Any]:
    """Return the record: what is measured, what is assumed, and what follows.

    Args:
        loader: ``loader.json``: seconds to read an image.
        two: ``two_ranks_cpu.json``: seconds to transform one, and what two processes take here; None if
            that is not measured yet, and images are only read.
        images: Of an epoch.
        parameters: Of the network on GPUs.
    """
    transform = 0.0 if two is None else two["reading_seconds_per_image"]
    reading = {name: loader["loader"][key]["milliseconds"] / 1e3 + transform for name, key in SOURCES.items()}
    rows = []
    for name, seconds in reading.items():
        for speed in SPEEDS:
            costs = assumed(speed, seconds, parameters)
            shared = dict(source=name, assumed_speed=speed, cores_needed=round(costs.cores_needed, 1))
            rows += [dict(shared, **costs.row(ranks, images)) for ranks in RANKS]
    return dict(
        images=images,
        measured=dict(
            reading_seconds_per_image={name: round(seconds, 6) for name, seconds in reading.items()},
            two_ranks_cpu=two and {key: two[key] for key in ("machine", "load_before", "commit")},
            here=two and checked(two),
        ),
        assumed=dict(asdict(assumed(SPEEDS[0], 0.0, parameters)), gpu="not measured"),
        rows=rows,
    )


def checked(two: Mapping[str, Any]) -> dict[str, float]:
    """Return what the model says of the two processes that were measured, and what they did."""
    # A process reads between two steps here, and its core exchanges the gradients: each adds to a step.
    rate = two["exchange_gigabytes_per_second"] * 1e9
    costs = Costs(two["step_seconds"], two["batch"], two["parameters"], 0.0, inside=rate, overlaps=False)
    predicted = 2 * costs.step(1)["whole"] / costs.step(2)["whole"]
    measured = two["ways"]["two processes, one core each"]["times_one"]
    return dict(predicted=round(predicted, 3), measured=measured)


def table_of(record: Mapping[str, Any]) -> str:
    """Return a text about a record, and its table."""
    given, here = record["assumed"], record["measured"]["here"]
    seconds = record["measured"]["reading_seconds_per_image"]
    read = ", ".join(f"{1e3 * value:.1f} ms from {name}" for name, value in seconds.items())
    text = (
        f"An epoch of {record['images']:,} images. Assumed, not measured: the speed of a GPU in the second "
        f"column, {given['batch']} images in a step of each, {given['parameters']:,} parameters, "
        f"{given['inside'] / 1e9:g} GB/s between the {given['node']} GPUs of a machine, "
        f"{given['between'] / 1e9:g} GB/s between machines, {given['cores']} cores that read for each GPU. "
        f"Measured on a CPU: reading{'' if here is None else ' and transforming'} an image takes one core "
        f"{read}. "
    )
    if here is None:
        text += "Transforms, and two processes, are not measured yet."
    else:
        text += (
            f"For the two processes that were measured the model says {here['predicted']:.2f} times one "
            f"process; it was {here['measured']:.2f}."
        )
    head = [
        "images come from", "a GPU alone, images/s", "cores it needs", "GPUs", "images/s", "efficiency",
        "epoch, min", "labels, min", "limit",
    ]  # fmt: skip
    rows = [
        [
            row["source"], f"{row['assumed_speed']:g}", f"{row['cores_needed']:g}", str(row["ranks"]),
            f"{row['images_per_second']:,.0f}", f"{row['efficiency']:.2f}", f"{row['epoch_minutes']:.1f}",
            f"{row['labels_minutes']:.1f}", row["limit"],
        ]
        for row in record["rows"]
    ]  # fmt: skip
    return f"{text}\n\n{markdown_table(head, rows, padded=True)}"


def render(page: Path) -> None:
    """Write the table between the marks of a page from its record."""
    rewrite(page, NAME, table_of(read_json(page.parent / "benchmarks" / f"{NAME}.json")))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute, print and write the record; or render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "record", nargs="?", type=Path, help="JSON file, beside loader.json and two_ranks_cpu.json"
    )
    parser.add_argument("--images", type=int, default=10**6, help="of an epoch; default a million")
    parser.add_argument(
        "--parameters", type=int, default=25_000_000, help="of the network; default 25 million"
    )
    parser.add_argument("--render", type=Path, metavar="PAGE", help="write the table of a page, and end")
    options = parser.parse_args(arguments)
    if options.render:
        render(options.render)
        return
    if options.record is None:
        parser.error("give a JSON file for the result")
    folder = options.record.parent
    measured = folder / "two_ranks_cpu.json"
    two = read_json(measured) if measured.is_file() else None
    record = model_record(read_json(folder / "loader.json"), two, options.images, options.parameters)
    print(table_of(record))
    atomic_write_json(options.record, record)


if __name__ == "__main__":
    main()
