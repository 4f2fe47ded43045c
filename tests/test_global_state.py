"""Importing this package changes nobody else's program, and a run leaves nothing behind in MMEngine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SNAPSHOT = '''
import importlib, json, logging, os, pkgutil, random, signal, sys, types, warnings

# What the package builds on comes first: what these change is theirs.
import cv2, matplotlib, matplotlib.pyplot, numpy, scipy.ndimage, scipy.spatial, torch
import mmcv.cnn, mmcv.transforms
import mmengine.analysis, mmengine.config, mmengine.dataset, mmengine.dist, mmengine.evaluator, mmengine.hooks
import mmengine.model, mmengine.optim, mmengine.registry, mmengine.runner, mmengine.utils.dl_utils
import mmengine.visualization, torch.utils.checkpoint, torch.nn.parallel
from mmengine.registry import Registry
from mmengine.runner import CheckpointLoader

PACKAGES = ("mmengine", "mmcv", "torchvision", "torch")


def parts(name, value):
    """Yield the name and the identity of a value, of what a class defines, and of what a table holds."""
    yield name, id(value)
    if isinstance(value, type) and value.__module__.split(".")[0] in ("mmengine", "mmcv", "torchvision"):
        for key, part in vars(value).items():
            if not key.startswith("_abc_") and key != "__doc__":
                yield f"{name}.{key}", id(part)
    elif isinstance(value, Registry):
        yield f"{name}.module_dict", {key: id(part) for key, part in value.module_dict.items()}
        children = {scope for scope in value.children if scope != "mmlandmark"}
        yield f"{name}.children", sorted(children)
    elif isinstance(value, dict | list | set | tuple) and not name.endswith("__builtins__"):
        content = value.items() if isinstance(value, dict) else enumerate(value)
        if not isinstance(value, set):
            yield f"{name} (content)", [(str(key), id(part)) for key, part in content]


def packages():
    """Return what the modules hold that other packages consist of."""
    state = {}
    for module_name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        module = sys.modules[module_name]
        state[module_name] = id(module)
        deep = module_name.split(".")[0] != "torch" or module_name in ("torch", "torch.hub", "torch.nn")
        for key, value in list(vars(module).items()) if deep and module is not None else ():
            # A package gets an attribute for every module below that is imported.
            if isinstance(value, types.ModuleType) or key in ("__warningregistry__", "__path__"):
                continue
            state.update(parts(f"{module_name}:{key}", value))
    state["schemes"] = {key: id(loader) for key, loader in CheckpointLoader._schemes.items()}
    return state


def process():
    """Return the settings of the process."""
    root = logging.getLogger()
    loggers = {name: logging.getLogger(name) for name in ("mmengine", "torch", "matplotlib")}
    return dict(
        {f"signal {s.name}": id(signal.getsignal(s)) for s in signal.valid_signals() if hasattr(s, "name")},
        environ=dict(os.environ),
        path=list(sys.path),
        hooks=[id(sys.excepthook), id(sys.displayhook), *map(id, sys.meta_path)],
        folder=os.getcwd(),
        root=[root.level, *map(id, root.handlers), logging.root.manager.disable],
        loggers={name: [one.level, one.propagate, *map(id, one.handlers)] for name, one in loggers.items()},
        warnings=[str(one) for one in warnings.filters],
        showwarning=id(warnings.showwarning),
        random=[hash(random.getstate()), str(numpy.random.get_state()), str(torch.get_rng_state().tolist())],
        numpy=numpy.geterr(),
        torch=[
            str(torch.get_default_dtype()),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.hub.get_dir(),
        ],
        cv2=[cv2.getNumThreads(), cv2.ocl.useOpenCL()],
        matplotlib=[matplotlib.get_backend(), {key: str(v) for key, v in matplotlib.rcParams.items()}],
    )


def changes(before, after):
    """Return the names of what was there before and is another thing now."""
    return sorted(name for name in before if before[name] != after.get(name, "absent"))
'''

IMPORTING = """
before = packages(), process()
import mmlandmark
names = [m.name for m in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark.")]
for name in names:
    importlib.import_module(name)
from mmlandmark.registry import MODELS
MODELS.get("LandmarkDetector")  # imports the rooms, and the packages of plugins
state = packages(), process()
changed = {p: changes(b, a) for p, b, a in zip(("packages", "process"), before, state)}
"""

RUNNING = '''
import torch._dynamo  # an optimizer imports it, and it wraps torch.manual_seed
from mmengine import fileio
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
fileio.get("/dev/null")  # fills a cache of MMEngine
from mmlandmark.apis import train_config
from mmlandmark.testing import tiny_config
before = packages()
train_config(tiny_config("ours", max_epochs=1))
changed = changes(before, packages())


class Foreign(BaseModel):
    """A model that knows MMEngine alone."""

    def __init__(self):
        super().__init__(init_cfg=dict(type="Pretrained", checkpoint="foreign.pth"))
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode="tensor"):
        return dict(loss=self.layer(inputs).square().mean())


# A file that only MMEngine accepts: it lacks a weight.
torch.save(dict(state_dict={"layer.bias": torch.full((1,), 7.0)}), "foreign.pth")
model, biases = Foreign(), []


class Look(Hook):
    """Note the bias that the training starts from."""

    def before_train(self, runner):
        biases.append(model.layer.bias.item())


runner = Runner(
    model,
    "theirs",
    train_dataloader=dict(
        batch_size=1, sampler=dict(type="DefaultSampler"), dataset=[dict(inputs=torch.ones(2))] * 2,
        collate_fn=dict(type="default_collate"),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
    custom_hooks=[dict(type=Look)],
    default_scope="mmengine",
    log_level="ERROR",
)
runner.train()
theirs = dict(epoch=runner.epoch, bias=biases, saved=os.path.isfile("theirs/epoch_1.pth"))
'''


def run(code: str, result: str, folder: Path):
    """Run a program that begins with ``SNAPSHOT``, and return the value of an expression at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{SNAPSHOT}\n{code}\nprint('RESULT' + json.dumps({result}))"],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", MPLBACKEND="agg"),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("RESULT")[2])


def test_importing_every_module_changes_nothing_of_others(tmp_path):
    changed, count = run(IMPORTING, "[changed, len(names)]", tmp_path)
    assert count > 100, "the modules are not imported, so this test looks at nothing"
    assert changed == dict(packages=[], process=[])


@pytest.mark.slow
def test_a_run_leaves_mmengine_as_it_was(tmp_path):
    changed, theirs = run(RUNNING, "[changed, theirs]", tmp_path)
    assert changed == []
    assert theirs == dict(epoch=1, bias=[7.0], saved=True)


@pytest.mark.slow
def test_the_snapshot_sees_what_is_changed(tmp_path):
    """Every kind of change is seen, so that the tests above can fail."""
    code = """
before = packages(), process()
from mmlandmark.engine.mmengine_cures import applied
sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
applied.__enter__()
signal.signal(signal.SIGTERM, lambda *_: None)
os.environ["NEW"] = "1"
warnings.simplefilter("error")
logging.getLogger().setLevel("DEBUG")
logging.getLogger("mmengine").propagate = False
state = packages(), process()
"""
    seen = run(code, "[n for b, a in zip(before, state) for n in changes(b, a)]", tmp_path)
    assert {
        "schemes",
        "mmengine.config.config:Config._get_cfg_path",
        "mmengine.runner.checkpoint:load_from_http",
        "mmengine.registry:WEIGHT_INITIALIZERS.module_dict",
        "signal SIGTERM",
        "environ",
        "warnings",
        "root",
        "loggers",
    } <= set(seen)
