"""More of what :mod:`.torture` does to runs: requests to stop, invalid batches, claims, shards, two nodes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config

from mmlandmark.datasets.phantom import phantom_dataset
from mmlandmark.datasets.shards import ShardWriter
from mmlandmark.engine import latest_checkpoint
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing import two_ranks
from mmlandmark.testing.claimed_sizes import MEMORY, ClaimPlan
from mmlandmark.testing.fuzz import Limits, run
from mmlandmark.testing.invalid_batches import KINDS, plant
from mmlandmark.testing.kill_methods import METHODS, quick, training
from mmlandmark.testing.kills import (
    CLOCK,
    Moment,
    disturbed,
    filled,
    left_behind,
    random_moments,
    run_forked,
    undisturbed,
    watched,
)
from mmlandmark.testing.mutations import mutate
from mmlandmark.testing.tiny import tiny_config, tiny_model
from mmlandmark.testing.torture_parts import Try, folders_of_two, gone_on, said_in, same, trained_in_two
from mmlandmark.utils import stop_requests
from mmlandmark.utils.process_table import began

_BATCH = 34  # files between two looks at the clock: each format twice
_MINUTE = 60.0  # in which a run that lost a node must be over
_STEPS = 6  # of the training that meets an invalid batch
_SHARDS, _PARTS = 4, 2  # of the data set in shards, and of its prediction


def stopped_runs(given: Try) -> None:
    """Ask trainings to stop by SIGINT, SIGTERM or SIGUSR1: they end with 75, and the same command goes on."""
    rng = random.Random(given.seed)
    with quick():
        (given.root / "site").mkdir()
        words = METHODS["supervised"].prepare(given.root / "site")
        started = time.monotonic()
        with watched(given.root / "whole") as seen:
            expected = left_behind(undisturbed(words, given.root / "whole"))
        moments = random_moments(seen, time.monotonic() - started, given.seed)
        while given.goes_on:
            moment, stop = next(moments), rng.choice(stop_requests.SIGNALS)
            early = moment.number <= sum(call == moment.call for call, _ in seen) // 2
            must = moment.call in ("epoch", "train_step") and early
            fault = _asked(filled(words, given.root / "run"), moment, stop, must, expected, given.root)
            given.note(f"{stop.name} {moment.name}", fault)
            shutil.rmtree(given.root / "run", ignore_errors=True)


def _asked(
    words: Sequence[str], moment: Moment, stop: signal.Signals, must: bool, expected: Any, root: Path
) -> str | None:
    """Return what is wrong with a training that a signal asks to stop; None for nothing.

    Args:
        words: Its command, whose folder is ``root / "run"``.
        moment: When.
        stop: The signal.
        must: Whether it must stop: near its end it may be over before.
        expected: What an undisturbed one leaves.
        root: Folder for what it says.
    """
    log = root / "asked.log"
    log.unlink(missing_ok=True)
    if moment.call == CLOCK:
        status = run_forked(words, None, log, partial(_ask_later, moment.seconds, stop))
    else:
        status = run_forked(words, moment, log, stop=stop)
    if status not in (0, stop_requests.EX_TEMPFAIL) or (must and status == 0):
        return f"it ended with {status}: {said_in(log)}"
    if status:
        status = run_forked(words, None, log)
    return same(expected, status, log, root / "run")


def _ask_later(seconds: float, stop: signal.Signals) -> None:
    """Let this process get a signal so many seconds after it can listen, if it still can."""

    def ask() -> None:
        while not stop_requests.taken():
            time.sleep(0.001)
        time.sleep(seconds)
        if stop_requests.taken():
            os.kill(os.getpid(), stop)

    threading.Thread(target=ask, daemon=True).start()


def invalid_batches(given: Try) -> None:
    """Plant NaN or infinity into a training: it stops and names the samples, or leaves the step out."""
    rng, log = random.Random(given.seed), given.root / "invalid.log"
    with quick():
        words = dict[str, list[str]]()
        for rule in ("stop", "skip"):
            config = tiny_config("unused", max_epochs=_STEPS // 2)
            config.default_hooks.invalid_loss.on_invalid = rule
            config.dump(given.root / f"{rule}.py")
            words[rule] = training(given.root / f"{rule}.py")
        expected = left_behind(undisturbed(words["stop"], given.root / "whole"))
        while given.goes_on:
            number = len(given.rows)
            kind, rule = KINDS[number // 2 % len(KINDS)], ("stop", "skip")[number % 2]
            step, folder, note = rng.randint(1, _STEPS), given.root / "run", given.root / "ids.json"
            command = filled(words[rule], folder)
            status = run_forked(command, None, log, partial(plant, kind, step, note))
            fault = _told(status, log, json.loads(note.read_text()), kind, rule)
            if fault is None and status:  # the images are mended
                fault = same(expected, run_forked(command, None, log), log, folder)
            elif fault is None:
                fault = _finite(folder)
            given.note(f"{kind} in step {step}, {rule}", fault)
            shutil.rmtree(folder, ignore_errors=True)
            log.unlink(missing_ok=True)


def _told(status: int, log: Path, ids: Sequence[str], kind: str, rule: str) -> str | None:
    """Return what is wrong with how a training with an invalid batch ended; None for nothing."""
    text = log.read_text(encoding="utf-8", errors="replace")
    # A batch norm keeps what it has seen of an image, so that it cannot be left out.
    may_end = {1} if rule == "stop" else {0, 1} if "image" in kind else {0}
    words = [*ids, "not finite", *(["1 steps were left out"] if status == 0 else [])]
    missing = [word for word in words if word not in text]
    if status not in may_end or missing or "Traceback" in text:
        return f"it ended with {status}, without {missing}: {said_in(log)}"
    return None


def _finite(folder: Path) -> str | None:
    weights = left_behind(folder)["weights"]
    wrong = [name for name, value in weights.items() if not bool(torch.isfinite(value.float()).all())]
    return f"{len(wrong)} are not finite: {wrong[:3]}" if wrong or not weights else None


def huge_claims(given: Try) -> None:
    """Read images whose headers claim up to 100,000 x 100,000 pixels, with little memory."""
    plan = ClaimPlan(given.root, given.seed)
    while given.goes_on:
        for job, outcome in run(plan, _BATCH, limits=Limits(memory=MEMORY)).items():
            case, (size,) = plan.cases[job.case], plan.input(job).changes
            refused = outcome.end == "refused" and "claims" in outcome.message
            given.note(f"{case.name} of {size}", None if refused else f"{outcome.end}: {outcome.message}")
        plan.seed += 1


def write_shards(folder: Path) -> Path:
    """Write films of phantoms with their landmarks, two to a shard; return the index."""
    with ShardWriter(folder, 2**30) as writer:
        for number in range(2 * _SHARDS):
            image, points, spacing = phantom_dataset.render_phantom("ceph", 0, number, (64, 64))
            entry = dict(id=f"film{number}", landmarks=points.tolist(), height=64, width=64)
            entry |= dict(spacing=list(spacing), split=f"s{number // 2}")  # another split begins a shard
            writer.add(entry, ".png", cv2.imencode(".png", image)[1].tobytes())
        return writer.finish(LandmarkSchema.load("isbi2015_cephalogram").to_dict())


def _over_shards(index: Path) -> Config:
    """Return the config of a training over shards."""
    config = tiny_config("unused")
    dataset = dict(
        type="ShardedDataset", ann_file=str(index), pipeline=config.train_dataloader.dataset.pipeline
    )
    config.train_dataloader.dataset = dict(dataset, serialize_data=False)
    config.train_dataloader.sampler = dict(type="ShardSampler")
    return config


def _prepare_shards(folder: Path) -> list[str]:
    _over_shards(write_shards(folder / "shards")).dump(folder / "config.py")
    return training(folder / "config.py")


def shards(given: Try) -> None:
    """Kill trainings and predictions over shards, and damage the shards that they read."""
    site, rng = given.root / "site", np.random.default_rng(given.seed)
    with quick():
        site.mkdir()
        jobs = [_ShardTraining(site, given), _ShardPrediction(site, given)]
        while given.goes_on:
            number, folder = len(given.rows), given.root / "run"
            job = jobs[number % 2]
            job.log.unlink(missing_ok=True)
            what, fault = job.killed(folder) if number // 2 % 2 == 0 else job.damaged(folder, rng)
            given.note(f"{job.name}: {what}", fault)
            shutil.rmtree(folder, ignore_errors=True)


class _OverShards(ABC):
    """Something that reads shards, and what it makes of them if nobody disturbs it.

    Args:
        site: Folder of the shards, ``shards``.
        given: Where it works, and its seed.
    """

    name = ""

    def __init__(self, site: Path, given: Try) -> None:
        self.words, self.log = self.prepare(site), given.root / "said"
        self.files = sorted((site / "shards").glob("*.tar"))
        whole, started = given.root / f"whole_{type(self).__name__}", time.monotonic()
        with watched(whole) as seen:
            self.expected = self.made(undisturbed(self.words, whole))
        self.moments = random_moments(seen, time.monotonic() - started, given.seed)

    @abstractmethod
    def prepare(self, site: Path) -> list[str]:
        """Write what it needs; return the words of its command."""

    @abstractmethod
    def made(self, folder: Path) -> Any:
        """Return what can be compared of its folder."""

    def killed(self, folder: Path) -> tuple[str, str | None]:
        """Kill it, and give the same command again; return what was done, and what is wrong."""
        moment = next(self.moments)
        what = f"kill -9 {moment.name}"
        try:
            return what, self.compared(disturbed(self.words, folder, moment, self.log))
        except RuntimeError as error:
            return what, f"{error}: {said_in(self.log)}"

    def damaged(self, folder: Path, rng: np.random.Generator) -> tuple[str, str | None]:
        """Let it read a changed shard, and then the right one; return what was done, and what is wrong."""
        path = self.files[rng.integers(len(self.files))]
        right = path.read_bytes()
        data, changes = mutate(right, rng)
        path.write_bytes(data)
        try:
            status = run_forked(filled(self.words, folder), None, self.log)
        finally:
            path.write_bytes(right)
        what = f"{path.name}: {', '.join(changes)}"
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if status == 0:  # nobody reads what was changed
            return what, self.compared(folder)
        if status != 1 or "Traceback" in text or path.name not in text:
            return what, f"it ended with {status}: {said_in(self.log)}"
        status = run_forked(filled(self.words, folder), None, self.log)
        if status:
            return what, f"mended, it ended with {status}: {said_in(self.log)}"
        return what, self.compared(folder)

    @abstractmethod
    def compared(self, folder: Path) -> str | None:
        """Return what is wrong with what is there in the end; None for nothing."""


class _ShardTraining(_OverShards):
    name = "training"

    def prepare(self, site: Path) -> list[str]:
        return _prepare_shards(site)

    def made(self, folder: Path) -> Any:
        return left_behind(folder)

    def compared(self, folder: Path) -> str | None:
        return same(self.expected, 0, self.log, folder)


class _ShardPrediction(_OverShards):
    name = "prediction"

    def prepare(self, site: Path) -> list[str]:
        tiny_model().save(site / "small.mml.pth")
        index = str(site / "shards" / "index.json")
        words = ["predict", str(site / "small.mml.pth"), "--shards", index, "--part", f"1/{_PARTS}"]
        return [*words, "--workers", "0", "-o", "{out}"]

    def made(self, folder: Path) -> Any:
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.predictions.json"))}

    def compared(self, folder: Path) -> str | None:
        found = self.made(folder)
        wrong = [name for name in {**found, **self.expected} if found.get(name) != self.expected.get(name)]
        return f"{len(wrong)} differ: {wrong[:3]}" if wrong else None


def two_nodes(given: Try) -> None:
    """Train on two nodes, every second time until one is killed: all end as on one node."""
    rng = random.Random(given.seed)
    with quick():
        expected = left_behind(trained_in_two(given.root / "whole"))
        for folder in folders_of_two(given):
            if len(given.rows) % 2 == 0:
                given.note("two nodes", _on_nodes(folder, expected))
            else:
                node = rng.randrange(2)
                given.note(f"kill -9 of node {node}", _without(folder, node) or gone_on(folder, expected))


def _begin(folder: Path) -> list[Any]:
    return two_ranks.begin_nodes("train", folder / "config.py", "--resume", cwd=folder)


def _on_nodes(folder: Path, expected: Any) -> str | None:
    """Train on two nodes; return what is wrong, None for nothing."""
    agents = _begin(folder)
    with two_ranks.ended(agents[0]), two_ranks.ended(agents[1]):
        states = [agent.wait() for agent in agents]
    return same(expected, max(states, key=abs), folder / f"{two_ranks.SAID}0", folder / "run")


def _without(folder: Path, node: int) -> str | None:
    """Train on two nodes until the agent of one is killed; return what is wrong, None for nothing."""
    agents = _begin(folder)
    with two_ranks.ended(agents[0]), two_ranks.ended(agents[1]):
        two_ranks.wait_until(lambda: latest_checkpoint(folder / "run") is not None, agents[0])
        ranks = [rank for agent in agents for rank in two_ranks.ranks_of(agent)]
        agents[node].kill()
        end, log = time.monotonic() + _MINUTE, folder / f"{two_ranks.SAID}{1 - node}"
        while agents[1 - node].poll() is None or any(map(began, ranks)):
            if time.monotonic() > end:
                return f"it was not over after a minute: {said_in(log)}"
            time.sleep(0.05)
    return "it ended as if nothing were lost" if agents[1 - node].returncode == 0 else None


# Name -> what is done, and its share of the time.
MORE_PARTS: dict[str, tuple[Callable[[Try], None], float]] = {
    "requests to stop": (stopped_runs, 3),
    "invalid batches": (invalid_batches, 2),
    "claimed sizes": (huge_claims, 0.5),
    "shards": (shards, 2),
    "two nodes": (two_nodes, 4),
}
