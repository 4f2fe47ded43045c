"""Recorded results: metrics on disk, with everything needed to trace and to repeat the run."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import mmlandmark
from mmlandmark.evaluation.comparison import PairedTest, paired_test
from mmlandmark.evaluation.report import without_nan
from mmlandmark.ops import backend
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.cpu import cpu_model
from mmlandmark.utils.files import atomic_write_json, read_json


def record_results(
    path: str | Path,
    metrics: dict[str, float],
    cfg: Any,
    seed: int | None,
    *,
    sample_ids: Iterable[str] = (),
    landmarks: np.ndarray | None = None,
    config_name: str | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Write the metrics of one run atomically as JSON, and return the record.

    Args:
        path: File to write, by convention ``configs/<method>/results/<config>_seed<seed>.json``.
        metrics: Values by name, as returned by the evaluator.
        cfg: The resolved config, an MMEngine ``Config`` or a dict.
        seed: Seed of the training run, or None if unknown.
        sample_ids: Tested cases.
        landmarks: (N, K, D) annotation of the tested cases, in the order of ``sample_ids``.
        config_name: Name of the config; the default is the stem of its file.
        extra: Further entries, of plain types.

    Raises:
        ValueError: There are no metrics, or the config has no name.
    """
    if not metrics:
        raise ValueError(f"{path}: no metrics to record")
    name = config_name or Path(getattr(cfg, "filename", None) or "").stem
    if not name:
        raise ValueError(f"{path}: the config was not read from a file, give config_name")
    sample_ids = list(sample_ids)
    record = dict(
        config=name,
        seed=seed,
        metrics=metrics,
        config_hash=config_hash(cfg),
        split=dict(images=len(sample_ids), hash=split_hash(sample_ids, landmarks) if sample_ids else None),
        commit=running_commit(),
        versions=versions(),
        machine=machine(),
        operators=str(backend()),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **extra,
    )
    record = without_nan(record)
    atomic_write_json(path, record)
    return record


def read_records(files: Iterable[str | Path], by_file: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return records by config, sorted by seed, each with its ``path``.

    Args:
        files: JSON files of records.
        by_file: Group by the name of the file without the seed, instead of by config.

    Raises:
        ValueError: A file lacks a key, two files hold the same seed of a config, or the runs of one group
            come from different configs or test sets, so their mean is meaningless.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(map(Path, files)):
        record = read_json(path)
        missing = [key for key in ("config", "seed", "metrics", "config_hash") if key not in record]
        if missing:
            raise ValueError(f"{path}: no {', '.join(missing)}; record it with mmlandmark test --record")
        name = (path.stem.rpartition("_seed")[0] or path.stem) if by_file else record["config"]
        group = groups.setdefault(name, [])
        for other in group:
            if other["seed"] == record["seed"]:
                raise ValueError(
                    f"{path}: seed {record['seed']} is already in {other['path']}; keep one of them"
                )
            for what, one, two in (
                ("config", other["config_hash"], record["config_hash"]),
                ("test set", _tested(other), _tested(record)),
            ):
                if one != two:
                    raise ValueError(
                        f"{path} and {other['path']}: both are runs of {name}, but the {what} differs "
                        f"({two} and {one}); record the older one again"
                    )
        group.append({**record, "path": path})
    return {
        name: sorted(groups[name], key=lambda record: (record["seed"] is None, record["seed"] or 0))
        for name in sorted(groups)
    }


def read_superseded(folder: str | Path) -> list[dict[str, Any]]:
    """Return the records of ``folder/superseded``, each with its ``path``.

    Every result stays on record. A replaced one is kept there, with ``superseded_by``: the ``record`` in
    ``folder`` that replaces it, and ``why``.

    Raises:
        ValueError: A record has no ``superseded_by``, or the record that it names does not exist.
    """
    records = []
    for path in sorted(Path(folder, "superseded").glob("*.json")):
        record = read_json(path)
        by = record.get("superseded_by")
        if not isinstance(by, dict) or not by.get("record") or not by.get("why"):
            raise ValueError(
                f"{path}: a superseded result needs superseded_by: {{'record': FILE, 'why': REASON}}"
            )
        if not Path(folder, by["record"]).is_file():
            raise ValueError(f"{path}: superseded by {by['record']!r}, which is not in {folder}")
        records.append({**record, "path": path})
    return records


def compare_records(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> PairedTest:
    """Compare two methods image by image, by the mean of every image over the recorded runs.

    Where patients have several images and a record says so, a patient is one observation.

    Args:
        first: Records of one method, as returned by :func:`read_records`; see :func:`compared_runs` for which
            of them count.
        second: Records of the other method.

    Raises:
        ValueError: A record has no errors of single images, or the tested images or units differ, or the
            lengths that millimetres come from.
    """
    for record in (*first, *second):
        if "image_errors" not in record:
            raise ValueError(f"{record['path']}: has no errors of single images; record the test again")
        base, errors = first[0], record["image_errors"]
        if _tested(record) != _tested(base) or errors["unit"] != base["image_errors"]["unit"]:
            raise ValueError(
                f"{record['path']} and {base['path']} were not tested on the same images in one unit"
            )
    _check_scales((*first, *second))
    one, other = (
        np.array([run["image_errors"]["mean"] for run in side], dtype=np.float64).mean(0)
        for side in compared_runs(first, second)
    )
    # The images are the same, so what one record says of their patients holds for all.
    groups = next(
        (r["image_errors"]["groups"] for r in (*first, *second) if "groups" in r["image_errors"]), None
    )
    return paired_test(one, other, groups)


def compared_runs(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the runs of both methods that a comparison is of.

    Runs of seeds that only one of them has are left out, unless they share no seed: arms of a sweep that is
    not finished yet began with weights of different quality.

    Args:
        first: Records of one method.
        second: Records of the other.
    """
    shared = {record["seed"] for record in first} & {record["seed"] for record in second}
    one, other = ([run for run in side if run["seed"] in shared or not shared] for side in (first, second))
    return one, other


def _check_scales(records: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError if errors of one unit were measured by different lengths; older records do not say."""
    known = [record for record in records if record["image_errors"].get("scale_source")]
    for record in known:
        one, other = (r["image_errors"]["scale_source"] for r in (known[0], record))
        if one != other:
            raise ValueError(
                f"{known[0]['path']} and {record['path']} do not measure errors by the same length ({one}; "
                f"{other}): test one of them again as the other"
            )


def _tested(record: dict[str, Any]) -> Any:
    return (record.get("split") or {}).get("hash")


def split_hash(sample_ids: Sequence[str], landmarks: np.ndarray | Sequence[np.ndarray] | None = None) -> str:
    """Return a hash of the ids of the tested cases and, if given, of their annotation.

    Args:
        sample_ids: N ids; their order does not matter.
        landmarks: (N, K, D) annotation in pixels, rounded to a hundredth of a pixel.
    """
    digest = hashlib.sha256()
    for i in sorted(range(len(sample_ids)), key=lambda i: sample_ids[i]):
        digest.update(f"{sample_ids[i]}\n".encode())
        if landmarks is not None:
            points = np.asarray(landmarks[i], dtype=np.float64)
            cells = np.where(np.isfinite(points), np.round(points * 100), np.iinfo(np.int64).min)
            digest.update(cells.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def sample_hash(sample_id: str, landmarks: np.ndarray | None) -> str:
    """Return a short hash of a case and its annotation (K, D) in pixels, by which it is recognised."""
    return split_hash([sample_id], None if landmarks is None else [landmarks])[:12]


def git_commit(folder: str | Path | None = None) -> str | None:
    """Return the commit of the source tree, with ``-dirty`` if files differ from it; None outside of git.

    Args:
        folder: Folder of tracked files; the default is this package. A package inside of another repository
            that does not track it, as in a virtual environment, has no commit.
    """
    folder = Path(mmlandmark.__file__).parent if folder is None else Path(folder)

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):  # Without git there is no commit.
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD") if git("ls-files", ".") else None
    return f"{commit}-dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else commit


@cache
def running_commit() -> str | None:
    """Return the :func:`git_commit` at the first call in a process.

    Trainings and tests call it when they begin: the source tree may have moved on when they record.
    """
    return git_commit()


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that compute the metrics; None for those not installed."""
    result: dict[str, str | None] = {
        "mmlandmark": mmlandmark.__version__,
        "python": platform.python_version(),
    }
    for name, packages in {
        "torch": ("torch",),
        "mmengine": ("mmengine", "mmengine-lite", "onedl-mmengine"),
        "mmcv": ("mmcv", "mmcv-lite", "onedl-mmcv"),
        "numpy": ("numpy",),
    }.items():
        result[name] = next((text for text in map(_version, packages) if text), None)
    return result


def machine() -> dict[str, Any]:
    """Return processor, usable cores and graphics card (None without one)."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return dict(cpu=cpu_model(), cores=cores, gpu=gpu)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
