"""Every place where MMEngine 0.10 needs help, in one file.

Importing this package changes nothing in MMEngine, torch or the process. Changes to MMEngine hold inside
``with applied:`` only; :class:`~mmlandmark.engine.LandmarkRunner` enters it while it is built and while it
runs.

=================================  ==========================================================================
Trouble                            Cure
=================================  ==========================================================================
A broken torchvision beside a CPU  :data:`torchvision_hidden`: ``collect_env`` reports it as absent.
torch kills every Runner
Loading may unpickle code (HTTP    :data:`~mmlandmark.utils.safe_loading.safe_loading` replaces the loaders
files; the onedl fork always)      of local files and addresses by ones that read only tensors and plain
                                   values.
``init_cfg`` of ``Pretrained``     The same patch refuses them. Our models apply it outside of our runner,
accepts weights of other networks  too: :class:`mmlandmark.models.base_module.BaseModule`.
``_base_ = 'mmlandmark::...'`` is  :data:`config_scope` resolves the path while
refused                            :func:`~mmlandmark.engine.load_config` reads a config.
Resume fails: the message hub's    ``SafeCheckpointHook`` turns them into plain values before saving and back
HistoryBuffer is not a plain type  after loading.
Resume executes the config in the  ``LandmarkRunner.resume`` reads a checkpoint as data, see
checkpoint, trusts its paths and   :mod:`mmlandmark.engine.training_state`; the hook knows names in its own
removes the files they name        folder only.
A resumed schedule keeps the end   :mod:`mmlandmark.engine.resuming`: the rates follow the config as it is
of the old run                     now.
``OneCycleLR`` divides by zero in  :class:`mmlandmark.engine.schedules.OneCycleLR`.
short runs
YAML configs may run code          :mod:`mmlandmark.engine.plain_config` reads them.
Checkpoints are written in place   ``LandmarkRunner.save_checkpoint`` writes a second file and renames it.
An old checkpoint is removed       :class:`mmlandmark.engine.hooks.CheckpointHook` removes it afterwards.
before the new one is written
``AmpOptimWrapper`` asks for CUDA  ``AutocastOptimWrapper`` is bfloat16 autocast on any device; the error of
by an assertion                    the other names it, see :mod:`mmlandmark.engine.optim_wrapper`.
``compile`` compiles samples too   :func:`mmlandmark.engine.compilation.compile_networks` compiles networks
                                   only.
A loop by iterations repeats one   Samplers pass the epoch to the data, see
draw per sample for the whole run  :mod:`mmlandmark.datasets.samplers`, and ``EpochSeedHook`` seeds every
                                   iteration.
Text of a config takes yapf        :data:`quick_config_text` writes it, see
seconds, before every run and in   :func:`~mmlandmark.utils.config_source.config_source`.
every checkpoint
300 lines before a run begins      :mod:`mmlandmark.engine.console` shows a summary; the log file has all.
torchrun on a CPU calls CUDA       ``LandmarkRunner.setup_env`` starts gloo first, and ``wrap_model`` passes
                                   ``device_ids=None``.
A resumed loop by iterations       :mod:`mmlandmark.engine.data_position` leaves them out, where the sampler
reads all earlier batches again    can.
A checkpoint lacks accumulated     :mod:`mmlandmark.engine.pending_gradients` keeps and restores them;
gradients                          :data:`quiet_accumulation` drops the warning that they are lost.
File backends read whole files,    :mod:`mmlandmark.utils.file_backends` has two that read ranges of bytes and
without an end to waiting          give up.
"Failed to search registry with    :mod:`mmlandmark.registry` has a child in every registry that a run builds
scope" in the log of a run         from, also where it registers nothing: MMEngine looks for one.
``Adafactor`` in the registry is   None needed: torch's own is ``TorchAdafactor``. The error of MMEngine for
that of ``transformers``,          a missing optimizer, "None is not a callable object", is replaced by one
``Lion`` that of                   that lists the nearest names, see :class:`mmlandmark.registry.Registry`.
``lion-pytorch``; without these
packages both are missing
=================================  ==========================================================================

What stays in a process, beside the settings that every MMEngine runner makes (its log, default scope, seeds,
threads of OpenCV, start method of processes):

=================================  ==========================================================================
What stays                         Since when
=================================  ==========================================================================
A child ``mmlandmark`` in each of  :mod:`mmlandmark.registry` is imported. MMEngine finds the registries of a
the registries of MMEngine that a  scope this way; no name in another scope changes.
run builds from
Operators                          :mod:`mmlandmark.ops` is imported, where the extension is built.
``torch.ops.mmlandmark``
The file backends                  A file on a server was opened by
``mmlandmark_http`` and            :func:`~mmlandmark.utils.file_backends.open_backend`. Addresses mean to
``mmlandmark_s3``                  others what they meant before.
The folder of a Python config at   :func:`~mmlandmark.engine.load_config` read the config. Modules beside it
the end of ``sys.path``            may be imported later.
The C library keeps freed memory   A runner without a GPU was built. ``env_cfg.keep_freed_memory=False``
                                   prevents it, see :mod:`mmlandmark.utils.host_memory`.
=================================  ==========================================================================
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from mmlandmark.utils.config_source import config_source
from mmlandmark.utils.patching import SharedPatch
from mmlandmark.utils.safe_loading import safe_loading
from mmlandmark.utils.shipped import shipped_file


@SharedPatch
@contextmanager
def applied() -> Iterator[None]:
    """Apply every cure that changes MMEngine or the process; all are undone on leaving.

    :class:`~mmlandmark.engine.LandmarkRunner` is built and runs inside, and configs are loaded inside
    ``with config_scope:``. Use it around MMEngine's own functions to have them cured, too:

    Example:
        >>> from mmengine.config import Config
        >>> from mmengine.registry import WEIGHT_INITIALIZERS
        >>> before = WEIGHT_INITIALIZERS.get("Pretrained")
        >>> with applied:
        ...     WEIGHT_INITIALIZERS.get("Pretrained").__name__
        'StrictPretrainedInit'
        >>> WEIGHT_INITIALIZERS.get("Pretrained") is before
        True
    """
    with torchvision_hidden, safe_loading, config_scope, quick_config_text, quiet_accumulation:
        yield


@SharedPatch
@contextmanager
def torchvision_hidden() -> Iterator[None]:
    """Make a torchvision that cannot be imported look absent instead of broken."""
    hidden = _is_broken("torchvision")
    if hidden:
        # ``import torchvision`` now raises ModuleNotFoundError, which every caller expects.
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torchvision"]


@SharedPatch
@contextmanager
def quick_config_text() -> Iterator[None]:
    """Let configs be written without yapf."""
    original = Config.__dict__["pretty_text"]
    Config.pretty_text = property(lambda config: config_source(config.to_dict()))
    try:
        yield
    finally:
        Config.pretty_text = original


@SharedPatch
@contextmanager
def quiet_accumulation() -> Iterator[None]:
    """Let an optimiser wrapper not warn of lost gradients if the parameters have them."""
    original = OptimWrapper.__dict__["initialize_count_status"]

    def initialize(wrapper: OptimWrapper, model: nn.Module, init_counts: int, max_counts: int) -> None:
        pending = init_counts % wrapper._accumulative_counts
        if not any(p.grad is not None for group in wrapper.param_groups for p in group["params"]):
            pending = 0
        original(wrapper, model, init_counts - pending, max_counts)
        wrapper._inner_count = init_counts

    OptimWrapper.initialize_count_status = initialize
    try:
        yield
    finally:
        OptimWrapper.initialize_count_status = original


def _is_broken(package: str) -> bool:
    """Return whether a package is installed but cannot be imported."""
    if package in sys.modules or importlib.util.find_spec(package) is None:
        return False
    try:
        importlib.import_module(package)
    except Exception:
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]
        return True
    return False


@SharedPatch
@contextmanager
def config_scope() -> Iterator[None]:
    """Let configs of other packages start from ``_base_ = 'mmlandmark::method/name.py'``."""
    original = Config.__dict__["_get_cfg_path"]

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        try:
            path = shipped_file(cfg_path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{filename}: _base_ {error}") from error
        if path is not None:
            # No scope: names in these configs are looked up from the scope of the config that inherits them.
            return str(path), None
        return original.__func__(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)
    try:
        yield
    finally:
        Config._get_cfg_path = original
