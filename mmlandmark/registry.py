"""Every extension point of mmlandmark, one line each.

A downstream package registers with ``from mmlandmark.registry import MODELS`` and needs no prefix in its
configs. A config can name a class in three ways: by its registered name; by its full dotted path
(``type="my_package.module.MyLoss"``), without registration; or by the name that a package registers when its
entry point of the group ``mmlandmark.plugins`` is imported, on the first use of a registry.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from importlib.metadata import entry_points
from typing import Any

from mmengine import registry as _root
from mmengine.registry import Registry as _Registry

from mmlandmark.utils.near_names import near_name

SCOPE = "mmlandmark"

# The subpackages that register something, from bottom to top. The first use of a registry imports them all.
ROOMS = (
    "mmlandmark.codecs",
    "mmlandmark.datasets",
    "mmlandmark.models",
    "mmlandmark.engine",
    "mmlandmark.evaluation",
    "mmlandmark.visualization",
    "mmlandmark.inference",
)

# No name of a class ends like that, and a text that does is no dotted path but a file, such as ``test.json``.
FILE_ENDINGS = frozenset(
    """
    bmp csv dcm gif gz jpeg jpg json md nii npy png pt pth tif tiff tps tsv txt yaml yml
    """.split()  # noqa: SIM905  a list of quoted words reads worse
)

_swallowed: dict[str, str] = {}
_rooms_imported = False


def _import_rooms() -> None:
    """Import every room and every plugin once; remember the errors that plugins raised."""
    global _rooms_imported
    if _rooms_imported:
        return
    _rooms_imported = True  # set first: the rooms use registries while they are imported
    try:
        for room in ROOMS:
            importlib.import_module(room)
    except BaseException:
        _rooms_imported = False  # the next use shall raise the real error, too
        raise
    for entry in entry_points(group="mmlandmark.plugins"):
        try:
            entry.load()
        except Exception as error:  # A broken plugin must not break the package, but is reported.
            _swallowed[f"plugin {entry.name} ({entry.value})"] = repr(error)


class NotRegisteredError(KeyError):
    """A name is not registered."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message quoted, with every quote escaped


class UnknownArgumentError(TypeError):
    """A class does not take an argument that it was given; the message names the nearest one."""


def _unknown_argument(kind: type, owner: str, argument: str) -> str:
    """Return the message for an argument that a class refused, itself or in its base class ``owner``."""
    inits = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    parameters = [p for init in inits for p in inspect.signature(init).parameters.values()]
    known = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}
    near = near_name(argument, known)
    hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(sorted(known)) or 'none'}"
    of = "" if owner == kind.__name__ else f" ({owner} refused it)"
    return f"{kind.__name__} got an unexpected keyword argument {argument!r}{of}; {hint}"


class Registry(_Registry):
    """An MMEngine registry with helpful errors: they list the nearest names and failed imports."""

    def import_from_location(self) -> None:
        """Import all rooms instead of one location, wherever the name is registered."""
        _import_rooms()

    def get(self, key: str) -> Any:
        """Return the class registered as ``key`` or found at the dotted path ``key``.

        Raises:
            NotRegisteredError: There is none; the message lists the nearest names and failed imports.
        """
        if isinstance(key, str) and "." in key and not _is_dotted_path(key):
            raise NotRegisteredError(f"{key!r} is no dotted path of a class.{self._hint(key)}")
        try:
            kind = super().get(key)
        except RuntimeError:
            kind = None
        if kind is not None:
            return kind
        reason = ""
        if "." in key:
            module = key.rsplit(".", 1)[0]
            try:
                importlib.import_module(module)
            except ImportError as error:
                reason = f" Importing {module!r} failed: {error!r}."
        raise NotRegisteredError(
            f"{key!r} is not in the {SCOPE} registry of {self.name!r}.{reason}{self._hint(key)}"
        )

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Build the object that a config describes.

        Raises:
            NotRegisteredError: See :meth:`get`.
            UnknownArgumentError: Its class, or one nested in it, was given an argument it does not take.
        """
        try:
            return super().build(cfg, *args, **kwargs)
        except UnknownArgumentError:
            raise
        except TypeError as error:
            explained = self.explained(cfg, error)
            if explained is error:
                raise
            raise explained from error

    def explained(self, cfg: Any, error: TypeError) -> TypeError:
        """Return an error that names the nearest argument, for one raised while ``cfg`` was built elsewhere.

        Args:
            cfg: Config of the object.
            error: The error. It is returned unchanged unless it is about an unknown argument.
        """
        slip = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        kind = cfg.get("type") if isinstance(cfg, dict) else None
        kind = self.get(kind) if isinstance(kind, str) else kind
        if slip is None or not isinstance(kind, type) or isinstance(error, UnknownArgumentError):
            return error
        return UnknownArgumentError(_unknown_argument(kind, slip[1], slip[2]))

    def _hint(self, key: str) -> str:
        names = set(self._module_dict)
        if self.parent is not None:
            names |= set(self.parent._module_dict)
        near = difflib.get_close_matches(key.rsplit(".", 1)[-1], sorted(names), n=3, cutoff=0.5)
        hint = (
            f" Did you mean {', '.join(near)}?"
            if near
            else f" Registered here: {', '.join(sorted(self._module_dict))}."
        )
        if _swallowed:
            hint += " Failed imports: " + "; ".join(f"{k}: {v}" for k, v in _swallowed.items())
        return hint


def _is_dotted_path(key: str) -> bool:
    """Whether a class may be found there; no check of data looks at anything else."""
    parts = key.split(".")
    return all(part.isidentifier() for part in parts) and parts[-1].lower() not in FILE_ENDINGS


def _child(name: str, parent: _Registry) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE)


MODELS = _child("model", _root.MODELS)  # backbones, necks, heads, losses, detectors, preprocessors
CODECS = Registry("codec", scope=SCOPE)  # landmarks <-> heatmaps, encode and decode in one object
DECODERS = Registry("decoder", scope=SCOPE)  # from a map to a point between its pixels
SPATIAL_FEATURES = Registry("spatial feature", scope=SCOPE)  # functions of a size: maps of where a pixel lies
DATASETS = _child("dataset", _root.DATASETS)  # landmark datasets and release readers
TRANSFORMS = _child("transform", _root.TRANSFORMS)  # steps of a data pipeline
DATA_SAMPLERS = _child("data sampler", _root.DATA_SAMPLERS)  # orders in which samples are drawn
METRICS = _child("metric", _root.METRICS)  # what a validation or test reports
LABEL_SELECTORS = Registry("label selector", scope=SCOPE)  # which predicted landmarks a training learns from
HOOKS = _child("hook", _root.HOOKS)  # what happens beside training
WEIGHT_INITIALIZERS = _child("weight initializer", _root.WEIGHT_INITIALIZERS)  # what init_cfg names
MODEL_WRAPPERS = _child("model wrapper", _root.MODEL_WRAPPERS)  # a model on several processes
EVALUATOR = _child("evaluator", _root.EVALUATOR)  # passes predictions to metrics
OPTIMIZERS = _child("optimizer", _root.OPTIMIZERS)  # torch's optimizers under their names, and others
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", _root.OPTIM_WRAPPER_CONSTRUCTORS
)  # which parameter gets which setting
OPTIM_WRAPPERS = _child("optimizer_wrapper", _root.OPTIM_WRAPPERS)  # precision and accumulation
PARAM_SCHEDULERS = _child("parameter scheduler", _root.PARAM_SCHEDULERS)  # learning-rate schedules
LOOPS = _child("loop", _root.LOOPS)  # how an epoch runs
LOG_PROCESSORS = _child("log processor", _root.LOG_PROCESSORS)  # what a log line says
WRITERS = Registry("writer", scope=SCOPE)  # file formats of predictions
VISUALIZERS = _child("visualizer", _root.VISUALIZERS)  # how figures are drawn and stored
VISBACKENDS = _child("vis_backend", _root.VISBACKENDS)  # where scalars and figures go
