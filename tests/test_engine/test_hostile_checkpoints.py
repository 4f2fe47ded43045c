"""No field of a checkpoint runs code or touches a file outside the run's folder."""

from __future__ import annotations

import copy
import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from mmlandmark.apis import test_config as run_test
from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import CheckpointHook
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import checked_content, load_checkpoint, save_checkpoint
from part_of_cases import ALL


def config_of(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    for loader in loaders.values():
        loader["dataset"]["landmarks"] = [0, 1, 2]  # every one adds fields of the same kind to a checkpoint
    config = tiny_config(folder, max_epochs=2, **loaders, **overrides)
    config.model.backbone.widths, config.model.head.num_landmarks = (4, 6), 3
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, save_best="mre", rule="less", max_keep_ckpts=1
    )
    return config


class Place:
    """A run's folder beside things that are not its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.run, self.trace = root, root / "run", root / "was_run"
        for path in ("precious/best_mre_epoch_1.pth", "precious/epoch_1.pth", "precious/deep/a.txt"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
        shutil.copy(root / "precious/epoch_1.pth", root / "epoch_7.pth")
        self.before = self.snapshot()

    def snapshot(self) -> dict[str, str]:
        """Return everything that is not the run's."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else ""
            for path in sorted(self.root.rglob("*"))
            if self.run not in (path, *path.parents)
        }

    def values(self) -> list:
        """Return what an attacker, or bad luck, may put in place of any value."""
        code = f"__import__('pathlib').Path({str(self.trace)!r}).touch()"
        return [
            code,
            f"x = {code}\n",
            f"{{'_base_': ['a.py'], 'x': {code}}}",
            "../precious/best_mre_epoch_1.pth",
            str(self.root / "precious"),
            str(self.root / "precious" / "best_mre_epoch_1.pth"),
            "best_x/../../precious/deep",
            -1,
            10**18,
            2**31 - 1,
            float("nan"),
            float("inf"),
            1e300,
            None,
            True,
            [],
            [7, str(self.root), -1],
            {},
            {"type": "subprocess.Popen", "args": ["touch", str(self.trace)]},
            {"__history_buffer__": [1], "counts": str(self.trace), "max_length": 10**12},
            torch.full((3,), float("nan")),
            torch.zeros(1).expand(10**9),
            (),
            b"\x80\x02",
        ]


def fields(value, path=()):
    """Yield the way to every field, containers included."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from fields(value[key], (*path, key))
    elif isinstance(value, list | tuple):
        for index in range(len(value)):
            yield from fields(value[index], (*path, index))


def replaced(content, path, value):
    """Return content with another value in one place; what is not on the way is shared."""
    if not path:
        return value
    if isinstance(content, dict):
        changed = copy.copy(content)
        changed[path[0]] = replaced(content[path[0]], path[1:], value)
        return changed
    changed = list(content)
    changed[path[0]] = replaced(content[path[0]], path[1:], value)
    return changed


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return the checkpoint of one epoch, with everything in it that this package writes."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("good")
    config = config_of(folder)
    config.param_scheduler.append(dict(type="ReduceOnPlateauLR", monitor="mre", patience=0))
    runner = LandmarkRunner.from_cfg(config)
    runner.train_loop._max_epochs = 1
    runner.train()
    return load_checkpoint(folder / "epoch_1.pth")


def prepared(folder):
    """Return a runner that is ready to resume, and its checkpoint hook."""
    config = config_of(folder)
    config.param_scheduler.append(dict(type="ReduceOnPlateauLR", monitor="mre", patience=0))
    runner = LandmarkRunner.from_cfg(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._configured = runner.param_schedulers
    runner.param_schedulers = None
    return runner, next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


def loaded(content):
    """Return a checkpoint as from a file: what is read of it may be changed in place."""
    hub = content.get("message_hub")
    if isinstance(hub, dict) and isinstance(hub.get("log_scalars"), dict):
        content = dict(content, message_hub=dict(hub, log_scalars=dict(hub["log_scalars"])))
    return checked_content(content, "checkpoint epoch_1.pth")


def go_on(runner, hook) -> str:
    """Resume, take one step, find a new best checkpoint; return the error, or nothing."""
    runner._resume, runner._load_from, runner.resumed = True, "epoch_1.pth", None
    runner.message_hub.runtime_info.clear()
    runner.message_hub.log_scalars.clear()
    runner.optim_wrapper.optimizer.state.clear()
    runner.param_schedulers = runner.build_param_scheduler(runner._configured)
    hook.out_dir, hook.last_ckpt = None, None
    try:
        runner.resume("epoch_1.pth")
    except ValueError as error:
        return str(error)
    hook.before_train(runner)
    for parameter in runner.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    runner.optim_wrapper.optimizer.step()
    assert all(bool(torch.isfinite(p).all()) for p in runner.model.parameters())
    hook._save_checkpoint_with_step(runner, 2, dict(epoch=2, iter=2))
    hook._save_best_checkpoint(runner, dict(mre=-1.0))
    return ""


def test_no_field_runs_code_or_touches_what_is_not_the_runs(good, tmp_path, monkeypatch):
    """The content is handed over in memory, and files are written empty: thousands of cases in seconds."""
    place = Place(tmp_path)
    runner, hook = prepared(place.run)
    hostile, worked, refused = {}, 0, 0
    monkeypatch.setattr(
        "mmengine.runner.runner._load_checkpoint", lambda *_, **__: loaded(hostile["content"])
    )
    monkeypatch.setattr(
        LandmarkRunner, "save_checkpoint", lambda self, out, name, *_, **__: Path(out, name).write_bytes(b"")
    )
    values, ways = place.values(), list(fields(good))
    # Where words, names and counts stand, a third of the values in turn, or all, which takes a minute; one or
    # three where there are many fields of a kind.
    alike = {"state_dict", "optimizer", "log_scalars", "resumed_keys", "dataset_meta"}
    named = [way for way in ways if not alike & set(way)]
    step, each = (1, 3) if ALL else (3, 1)
    plan = [(way, value) for n, way in enumerate(named) for value in values[n % step :: step]]
    plan += [(way, values[(3 * n + i) % len(values)]) for n, way in enumerate(ways) for i in range(each)]
    assert len(named) > 40
    assert len(ways) > 300
    for way, value in plan:
        for name in ("epoch_7.pth", "best_mre_epoch_1.pth"):
            (place.run / name).write_bytes(b"")
        hostile["content"] = replaced(good, way, value)
        error = go_on(runner, hook)
        worked, refused = worked + (not error), refused + bool(error)
        assert "\n" not in error, (way, value)
        assert not error or "checkpoint epoch_1.pth" in error, error
        assert not place.trace.exists(), (way, value)
        assert place.snapshot() == place.before, (way, value)
    assert worked > 100
    assert refused > 200


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("meta", "config"), "CODE"),  # what MMEngine executes
        (("meta", "cfg"), "CODE"),
        (("meta", "resolved_config"), "CODE"),
        (("hook_states", "CheckpointHook", "best", "mre", "file"), "../precious/best_mre_epoch_1.pth"),
        (("message_hub", "runtime_info", "best_ckpt"), "FOLDER"),
        (("message_hub", "runtime_info", "last_ckpt"), "FOLDER"),
        (("message_hub", "runtime_info", "keep_ckpt_ids"), ["../../precious/epoch_1", 7]),
        (("hook_states", "CheckpointHook", "kept"), ["../../precious/epoch_1", 7]),
        (("meta", "iter"), 10**15),
        (("meta", "epoch"), 10**15),
    ],
)
def test_whole_runs_and_tests_of_a_hostile_checkpoint(good, tmp_path, way, value):
    place = Place(tmp_path)
    code = f"__import__('pathlib').Path({str(place.trace)!r}).touch()"
    value = {"CODE": f"x = {code}\n", "FOLDER": str(tmp_path / "precious")}.get(str(value), value)
    hostile = copy.deepcopy(good)
    inner = hostile
    for key in way[:-1]:
        inner = inner.setdefault(key, {})
    inner[way[-1]] = value
    save_checkpoint(hostile, place.run / "epoch_1.pth")
    config, said = config_of(place.run), ""
    config.param_scheduler.append(dict(type="ReduceOnPlateauLR", monitor="mre", patience=0))
    try:
        train_config(config, resume="auto")
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or "epoch_1.pth" in said
    tested = place.run / ("epoch_1.pth" if said else "epoch_2.pth")
    assert "mre" in run_test(config_of(place.run), tested)
    assert not place.trace.exists()
    assert place.snapshot() == place.before


def test_a_copied_run_leaves_the_original_alone(tmp_path):
    one = config_of(tmp_path / "a")
    one.train_cfg.max_epochs = 1
    one.param_scheduler = None
    train_config(one)
    (best,) = (tmp_path / "a").glob("best_*.pth")
    before = best.read_bytes()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    two = config_of(tmp_path / "b")
    two.param_scheduler = None
    train_config(two, resume="auto")
    assert best.read_bytes() == before
    assert len(list((tmp_path / "b").glob("best_*.pth"))) == 1
