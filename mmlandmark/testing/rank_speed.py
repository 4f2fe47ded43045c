"""Two processes against one, and against one of two threads: how much faster they train, and where time goes.

``python -m mmlandmark.testing.rank_speed CONFIG RECORD.json`` measures on two cores of a CPU:

- one process of one thread,
- two processes of one thread each, which train one model,
- two processes of one thread each, at the same time, which train a model each and exchange nothing,
- one process of two threads.

All take steps with the config's own data, batch size (of each process), network and optimiser. They take
turns, so that other load affects all; each way is put into relation to the first one of the same turn. Of
every step the seconds are noted in which a batch is read. Measured with them are the exchange of gradients
alone, from which follows what two processes should take, and the labelling of images. ``--render PAGE``
writes the table of a page from ``benchmarks/two_ranks_cpu.json`` beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmlandmark.engine import LandmarkRunner, load_config, plan_of_run
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.models.assembly import filled
from mmlandmark.models.shared_divisor import share_batches
from mmlandmark.registry import MODELS
from mmlandmark.testing.measure import median_ratio
from mmlandmark.utils.files import atomic_write_json, read_json
from mmlandmark.utils.table_text import markdown_table, rewrite

ONE, TWO, THREADS = "one process, one core", "two processes, one core each", "one process, two cores"
APART = "two processes, two trainings"
NAME = "two_ranks_cpu"
NOT_YET = "Not measured yet on a quiet machine."


class _Rank:
    """One of two processes, with a model of its own and one that both train.

    Args:
        config: Of one training.
        steps: Of every way in a turn.
        cores: Two of this machine.
    """

    def __init__(self, config: Config, steps: int, cores: Sequence[int]) -> None:
        self.rank, self.steps, self.cores = torch.distributed.get_rank(), steps, list(cores)
        torch.manual_seed(0)
        build = filled(MODELS, config.model, dims=config.model.get("dims") or 2)
        self.alone = MODELS.build(build).train()
        shared = MODELS.build(build).train()
        shared.load_state_dict(self.alone.state_dict())
        self.together = MMDistributedDataParallel(shared, broadcast_buffers=False)
        share_batches(self.together)
        self.optimizers = {
            id(model): build_optim_wrapper(model, config.optim_wrapper)
            for model in (self.alone, self.together)
        }
        loader = LandmarkRunner.build_dataloader(
            dict(config.train_dataloader, num_workers=0, persistent_workers=False)
        )
        self.batches = _endless(loader)

    def use(self, cores: int) -> None:
        """Compute on so many cores, with as many threads."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores if cores > 1 else {self.cores[self.rank]})
        torch.set_num_threads(cores)

    def train(self, model: Any) -> tuple[float, float]:
        """Take the steps of a turn; return the seconds, and those of them in which batches were read."""
        begin, reading = time.perf_counter(), 0.0
        for _ in range(self.steps):
            before = time.perf_counter()
            batch = next(self.batches)
            reading += time.perf_counter() - before
            model.train_step(batch, self.optimizers[id(model)])
        return time.perf_counter() - begin, reading

    def turn(self) -> dict[str, Any]:
        """Take a turn in every way; the second process waits where it has no part."""
        found: dict[str, Any] = {}
        for way in (ONE, TWO, APART, THREADS):
            self.use(2 if way == THREADS else 1)
            torch.distributed.barrier()
            if way == TWO:
                found[way] = self.train(self.together)
            elif way == APART or self.rank == 0:
                found[way] = self.train(self.alone)
        self.use(1)
        gradients = torch.zeros(sum(p.numel() for p in self.alone.parameters() if p.requires_grad))
        torch.distributed.barrier()
        begin = time.perf_counter()
        for _ in range(3):
            all_reduce(gradients)
        found["exchange"] = (time.perf_counter() - begin) / 3
        if self.rank == 0:
            found["labelling"] = self.label()
        return found

    def label(self) -> float:
        """Return the seconds that predicting the landmarks of a batch takes."""
        batch = next(self.batches)
        self.alone.eval()
        begin = time.perf_counter()
        with torch.no_grad():
            self.alone.val_step(batch)
        seconds = time.perf_counter() - begin
        self.alone.train()
        return seconds


def _endless(loader: Any) -> Iterator[Any]:
    for number in itertools.count():
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(number)
        yield from loader


def _measure_rank(
    rank: int, folder: str, config: Config, rounds: int, steps: int, cores: Sequence[int]
) -> None:
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meet = f"file://{folder}/meet"
    init_default_scope("mmlandmark")
    warnings.filterwarnings("ignore", category=FutureWarning)  # MMEngine's wrapper names an old argument
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    process = _Rank(config, steps, cores)
    turns = [process.turn() for _ in range(rounds + 1)][1:]  # the first one warms up
    about = dict(parameters=sum(p.numel() for p in process.alone.parameters() if p.requires_grad))
    Path(folder, f"{rank}.json").write_text(json.dumps(dict(about, turns=turns)), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def measure(config: Config, rounds: int = 5, steps: int = 4) -> dict[str, Any]:
    """Return a record of all ways.

    Args:
        config: Of one training.
        rounds: Turns of each way, behind one to warm up.
        steps: Of each way in a turn.

    Raises:
        ValueError: The machine has fewer than two cores, or a process failed.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = sorted(usable)[:2]
    if len(cores) < 2:
        raise ValueError("two processes are measured on two cores, this machine has one")
    load, about = os.getloadavg()[0], dict(machine=machine(), versions=versions(), commit=git_commit())
    start = multiprocessing.get_context("spawn").Process  # a fork cannot compute in several threads
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        ranks = [
            start(target=_measure_rank, args=(rank, folder, config, rounds, steps, cores)) for rank in (0, 1)
        ]
        for process in ranks:
            process.start()
        _wait_for(ranks)
        first, second = (json.loads(Path(folder, f"{rank}.json").read_text()) for rank in (0, 1))
    batch = config.train_dataloader.batch_size
    return dict(
        batch=batch, steps=steps, rounds=rounds,
        load_before=round(load, 2), **about, **summary(first, second, batch, steps),
    )  # fmt: skip


def _wait_for(ranks: Sequence[BaseProcess]) -> None:
    """Wait for the end of all processes, or end the others when one has failed."""
    while True:
        alive = [process.sentinel for process in ranks if process.is_alive()]
        if any(process.exitcode for process in ranks):  # one may have failed before this wait began
            for process in ranks:
                process.kill()
                process.join()
            raise ValueError("a process failed, see above")
        if not alive:
            return
        wait(alive)


def summary(first: dict[str, Any], second: dict[str, Any], batch: int, steps: int) -> dict[str, Any]:
    """Return the ways of a record, from what both processes measured turn by turn."""
    turns = first["turns"]
    speed = {ONE: [batch * steps / turn[ONE][0] for turn in turns]}
    for way in (TWO, APART):
        speed[way] = [
            2 * batch * steps / max(one[way][0], other[way][0])
            for one, other in zip(turns, second["turns"], strict=True)
        ]
    speed[THREADS] = [batch * steps / turn[THREADS][0] for turn in turns]
    exchange = [turn["exchange"] for turn in turns]
    alone = [turn[ONE][0] / steps for turn in turns]
    predicted = [2 * step / (step + cost) for step, cost in zip(alone, exchange, strict=True)]
    ways = {
        way: dict(
            images_per_second=round(statistics.median(values), 3),
            times_one=round(median_ratio(values, speed[ONE]), 3),
            reading_share=round(statistics.median(turn[way][1] / turn[way][0] for turn in turns), 4),
        )
        for way, values in speed.items()
    }
    size = 4 * first["parameters"]
    return dict(
        parameters=first["parameters"],
        ways=ways,
        step_seconds=round(statistics.median(alone), 5),
        reading_seconds_per_image=round(statistics.median(t[ONE][1] / steps / batch for t in turns), 6),
        labelling_seconds_per_image=round(statistics.median(t["labelling"] / batch for t in turns), 6),
        exchange_seconds=round(statistics.median(exchange), 5),
        exchange_gigabytes_per_second=round(size / statistics.median(exchange) / 1e9, 4),
        predicted_times_one=round(statistics.median(predicted), 3),
    )


def table_of(record: dict[str, Any]) -> str:
    """Return a line about a record, and its table."""
    load = record["load_before"]
    busy = ", a machine busy with other work" if load > 0.5 else ""
    count, exchange = record["parameters"], 1e3 * record["exchange_seconds"]
    about = (
        f"`{record['config']}`, {record['batch']} images in each process, {record['machine']['cpu']}, torch "
        f"{record['versions']['torch']}, commit {record['commit']}; medians of {record['rounds']} turns of "
        f"{record['steps']} steps, beside a load of {load:.1f}{busy}. {count:,} parameters: an exchange "
        f"of {4 * count / 1e6:.1f} MB takes {exchange:.1f} ms, a step of one process "
        f"{1e3 * record['step_seconds']:.0f} ms, so that two processes should train "
        f"{record['predicted_times_one']:.2f} times as fast as one."
    )
    if APART in record["ways"]:  # earlier records lack it
        about += (
            f" Two that exchange nothing train {record['ways'][APART]['times_one']:.2f} times as fast: what "
            "they lack to 2 is lost to what cores share, and to other work; the rest to the exchange and to "
            "waiting for each other."
        )
    rows = [
        [
            way,
            f"{row['images_per_second']:.1f}",
            f"{row['times_one']:.2f}",
            f"{100 * row['reading_share']:.1f}",
        ]
        for way, row in record["ways"].items()
    ]
    head = ["way", "images/s", "times one process", "of it reading, %"]
    return f"{about}\n\n{markdown_table(head, rows, padded=True)}"


def render(page: Path) -> None:
    """Write the table between the marks of a page from its record, or that there is none yet."""
    path = page.parent / "benchmarks" / f"{NAME}.json"
    rewrite(page, NAME, table_of(read_json(path)) if path.is_file() else NOT_YET)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the record; or render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", help="a config of one training")
    parser.add_argument("record", nargs="?", type=Path, help="JSON file for the result")
    parser.add_argument("--rounds", type=int, default=5, help="turns, behind one to warm up; default 5")
    parser.add_argument("--steps", type=int, default=4, help="of each way in a turn; default 4")
    parser.add_argument("--render", type=Path, metavar="PAGE", help="write the table of a page, and end")
    options = parser.parse_args(arguments)
    if options.render:
        render(options.render)
        return
    if options.record is None:
        parser.error("give a config and a JSON file for the result")
    config: Any = plan_of_run(load_config(options.config), "work_dirs").last_run.config
    record = dict(config=Path(options.config).stem, **measure(config, options.rounds, options.steps))
    print(table_of(record))
    atomic_write_json(options.record, record)


if __name__ == "__main__":
    main()
