"""Every place where MMEngine 0.10 needs help, in one file.

=================================  ==========================================================================
Trouble                            Cure
=================================  ==========================================================================
A broken torchvision beside a CPU  :func:`shield_from_torchvision` hides it, so that ``collect_env`` reports
torch kills every Runner           it as absent.
Loading may unpickle code (HTTP    :func:`install_safe_loaders` replaces the loaders of local files and
files; the onedl fork always)      addresses by ones that only read tensors and plain values.
``init_cfg`` of type ``Pretrained``  :func:`install_strict_pretrained` refuses them.
passes over weights of others
Resume fails: the message hub's    ``SafeCheckpointHook`` turns them into plain values before saving and back
HistoryBuffer is not a plain type  after loading.
Resume executes the config in a    ``LandmarkRunner.resume`` reads a checkpoint as data, see
checkpoint, believes its paths     :mod:`mmlandmark.engine.training_state`; the hook knows names of its own
and removes what they name         folder only.
A resumed schedule keeps the end   :mod:`mmlandmark.engine.resuming`: the rates are those of the config as it
of the old run                     is now.
``OneCycleLR`` divides by zero in  :class:`mmlandmark.engine.schedules.OneCycleLR`.
short runs
YAML configs may run code          :mod:`mmlandmark.engine.trust` reads them.
Checkpoints are written in place   ``LandmarkRunner.save_checkpoint`` writes beside and renames.
An old checkpoint is removed       :class:`mmlandmark.engine.hooks.CheckpointHook` removes it afterwards.
before the new one is written
``AmpOptimWrapper`` asks for CUDA  ``AutocastOptimWrapper`` is bfloat16 autocast on any device; the other says
by an assertion                    so, see :mod:`mmlandmark.engine.optim_wrapper`.
``compile`` compiles samples too   :func:`mmlandmark.engine.compilation.compile_networks` takes the networks.
A loop by iterations repeats one   Samplers tell the data the pass, :mod:`mmlandmark.datasets.samplers`, and
draw per sample for the whole run  ``EpochSeedHook`` seeds every iteration.
300 lines before a run begins      :mod:`mmlandmark.engine.console` shows the gist; the log file has all.
torchrun on a CPU calls CUDA       ``LandmarkRunner.setup_env`` starts gloo first, and ``wrap_model`` passes
                                   ``device_ids=None``.
``_base_ = 'mmlandmark::...'``     :func:`install_config_scope` adds the package to the list of known ones
is refused                         and leads the path to its configs.
``Adafactor`` in the registry is   None needed: torch's own is ``TorchAdafactor``. The error of MMEngine for
that of ``transformers``, ``Lion`` a missing optimiser, "None is not a callable object", is replaced by one
that of ``lion-pytorch``; without  that lists the nearest names, see :class:`mmlandmark.registry.Registry`.
these packages both are missing
=================================  ==========================================================================
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from mmlandmark.utils.checkpoint import check_state_dict, fetch_checkpoint, load_checkpoint
from mmlandmark.utils.shipped import shipped_file


def install() -> None:
    """Apply all cures that are not classes; calling it again changes nothing."""
    shield_from_torchvision()
    install_safe_loaders()
    install_config_scope()
    install_strict_pretrained()


def shield_from_torchvision() -> None:
    """Make a torchvision that cannot be imported look absent instead of broken."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # ``import torchvision`` now raises ModuleNotFoundError, which every caller expects.
        sys.modules["torchvision"] = None  # type: ignore[assignment]


def install_safe_loaders() -> None:
    """Let MMEngine read local files and addresses by :func:`mmlandmark.utils.checkpoint.load_checkpoint`."""
    from mmengine.runner import checkpoint
    from mmengine.runner.checkpoint import CheckpointLoader

    def local(filename: str, map_location: Any = None, logger: Any = None) -> dict:
        return load_checkpoint(filename, map_location)

    def remote(filename: str, map_location: Any = None, **_: Any) -> dict:
        return load_checkpoint(fetch_checkpoint(filename), map_location)

    # MMEngine prints the name behind "load_from_".
    local.__name__, remote.__name__ = "load_from_local", "load_from_http"
    CheckpointLoader.register_scheme(prefixes="", loader=local, force=True)
    CheckpointLoader.register_scheme(prefixes=("http://", "https://"), loader=remote, force=True)
    checkpoint.load_from_http = remote  # what the loaders of torchvision:// and openmmlab:// call


def install_strict_pretrained() -> None:
    """Let ``init_cfg=dict(type="Pretrained")`` refuse a file that lacks weights of the module.

    What the file has beyond them, a classifier, is passed over, and so are missing counters of batch norms;
    addresses of any registered scheme are read, since modules of other packages start this way too.
    """
    from mmengine.model.weight_init import PretrainedInit
    from mmengine.registry import WEIGHT_INITIALIZERS
    from mmengine.runner.checkpoint import CheckpointLoader

    class StrictPretrainedInit(PretrainedInit):
        def __call__(self, module: Any) -> None:
            loaded = CheckpointLoader.load_checkpoint(self.checkpoint, map_location="cpu")
            prefix = self.prefix or ""
            found = {
                k.removeprefix(prefix): v
                for k, v in loaded.get("state_dict", loaded).items()
                if k.startswith(prefix)
            }
            own = module.state_dict()
            counters = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
            state = counters | {k: v for k, v in found.items() if k in own}
            check_state_dict(module, state, f"init_cfg.checkpoint {self.checkpoint}")
            module.load_state_dict(state)

    WEIGHT_INITIALIZERS.register_module("Pretrained", force=True, module=StrictPretrainedInit)


def install_config_scope() -> None:
    """Let configs of other packages start from ``_base_ = 'mmlandmark::method/name.py'``."""
    from mmengine.config import config, utils

    if "mmlandmark" in utils.MODULE2PACKAGE:
        return
    utils.MODULE2PACKAGE["mmlandmark"] = "mmlandmark"
    original = config.Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple:
        try:
            path = shipped_file(cfg_path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{filename}: _base_ {error}") from error
        if path is not None:
            # No scope: names in these configs are found from the scope of the config that inherits them.
            return str(path), None
        return original(cfg_path, filename)

    config.Config._get_cfg_path = staticmethod(get_cfg_path)
