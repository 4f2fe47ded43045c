"""What follows a training in a plan: a test, a record, an ensemble of several runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmlandmark.apis.ensemble import build_ensemble
from mmlandmark.apis.recording import record_test
from mmlandmark.apis.running import test_config
from mmlandmark.apis.tested_run import find_checkpoint, tested_run
from mmlandmark.engine import ConfigError, Node, Step, folder_of_test, main_process_decides
from mmlandmark.utils.files import read_json


class TestStep(Step):
    """Test the last checkpoint of a run, into ``test`` in its folder.

    Args:
        config: The tested config, with or without stages; ``work_dir`` is the folder of the node.
    """

    __test__ = False  # pytest takes classes of such a name for tests
    name = "test"

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, node: Node) -> dict[str, float]:
        """Test."""
        # Its folder is noted, so that no other test of the run overwrites what a report of all folds reads.
        checkpoint, _ = main_process_decides(lambda: _tested(self.config, node))
        return test_config(self.config, checkpoint, out_dir=node.folder / "test")


def _tested(config: Config, node: Node) -> tuple[Path, Path]:
    """Return the last checkpoint of a run, and where the results of its test go, which is noted."""
    checkpoint = find_checkpoint(config, None)
    return checkpoint, node.folder / folder_of_test(tested_run(config)[0], checkpoint).name


class RecordStep(Step):
    """Test the last checkpoint of a run and record the result; done once the record exists.

    Args:
        name: Of the step.
        config: Returns the tested config when it is needed.
        path: The record.
        recipe: Returns the :func:`~mmlandmark.utils.config_hash.config_hash` that the record must have; None
            takes that of any config.
    """

    def __init__(self, name: str, config: Any, path: Path, recipe: Callable[[], str] | None = None) -> None:
        self.name, self.config, self.path, self.recipe = name, config, path, recipe

    def done(self, node: Node) -> bool:
        """Return whether the record exists.

        Raises:
            ConfigError: It is one of another config, so that it would stand under a wrong name.
        """
        if not self.path.is_file():
            return False
        if self.recipe is not None:
            _check_record(self.path, self.name, "config_hash", self.recipe())
            self.recipe = None  # looked at once
        return True

    def run(self, node: Node) -> Mapping[str, Any]:
        """Test and record."""
        config = self.config()
        config.work_dir = str(node.folder)
        checkpoint, out = main_process_decides(lambda: _tested(config, node))
        metrics = test_config(config, checkpoint, out_dir=out)
        main_process_decides(lambda: _record(node, self.name, config, checkpoint, metrics, out, self.path))
        return metrics


def _check_record(path: Path, name: str, key: str, now: Any) -> None:
    """Raise ConfigError if a record says that it is of something else; an older one may not say."""
    recorded = read_json(path).get(key)
    if recorded not in (None, now):
        raise ConfigError(
            f"{path} is the result of another config ({recorded}) than {name} has now ({now}): give what "
            "changed a name of its own, or move the record to superseded/"
        )


def _record(
    node: Node,
    step: str,
    config: Config,
    checkpoint: Path,
    metrics: Mapping[str, Any],
    out: Path,
    path: Path,
    **extra: Any,
) -> None:
    """Note and record a test; in this order, as the record says that all is done."""
    node.run_folder.finish_step(step, metrics)
    record_test(config, checkpoint, dict(metrics), out, path, **extra)
    print_log(f"recorded {path}", "current")


class EnsembleStep(Step):
    """Test the mean of the runs that a node needs and record the result; done once the record exists.

    Args:
        name: Of the step.
        options: Dotted keys to values that differ in the test.
        path: The record.
        average: See :func:`~mmlandmark.apis.build_ensemble`.
        recipe: Returns what the ensemble is made of, in plain types, which the record keeps as ``ensemble``
            and must have; None takes a record of any ensemble.
    """

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        path: Path,
        average: str = "points",
        recipe: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.name, self.options, self.path, self.average = name, options, path, average
        self.recipe, self._checked = recipe, False

    def done(self, node: Node) -> bool:
        """Return whether the record exists.

        Raises:
            ConfigError: It is one of an ensemble that was made of something else.
        """
        if not self.path.is_file():
            return False
        if self.recipe is not None and not self._checked:
            _check_record(self.path, self.name, "ensemble", self.recipe())
            self._checked = True
        return True

    def run(self, node: Node) -> Mapping[str, Any]:
        """Build the ensemble, test and record it."""
        folders = [run.last_run.folder for run in node.needs]
        config, checkpoint = main_process_decides(
            lambda: build_ensemble(
                folders, node.folder, average=self.average, which="last", options=self.options
            )
        )
        out = node.folder / "test"
        metrics = test_config(config, checkpoint, out_dir=out)
        made_of = {} if self.recipe is None else dict(ensemble=self.recipe())
        main_process_decides(
            lambda: _record(node, self.name, config, checkpoint, metrics, out, self.path, **made_of)
        )
        return metrics
