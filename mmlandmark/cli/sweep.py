"""Train and test variants of one config under several seeds, and write the table.

A sweep is a Python file with `config` (a config file, relative to the sweep), `seeds` and `arms`: name of the
variant -> values that differ, as `--cfg-options` takes them. `trained_as` names an arm whose training serves
this one too, where they differ in the test only; `teacher` names one whose model teaches this arm's,
seed by seed. `ensembles`, name -> arm, tests the mean of an arm's seeds.
`baseline` names the arm that mmlandmark collect tests all others against.
Records go to results/<sweep>/ of the sweep's method; what is recorded is not run again, so a
sweep that was stopped goes on:

    mmlandmark sweep configs/farnet/sweeps/table2_isbi2015_160x128_cpu.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_json, safe_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark sweep``."""
    parser.add_argument("sweep", type=Path, help="sweep file")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these variants")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--work-dir", type=Path, help="where runs go; work_dirs/<sweep> by default")
    parser.add_argument("--results", type=Path, help="where records go; results/<sweep> of the method")
    parser.add_argument(
        "--list", action="store_true", help="say what is recorded and what is not, run nothing"
    )


def load_sweep(path: Path) -> dict[str, Any]:
    """Return a sweep's config (as a path), seeds, arms with all their values, and what each is trained as.

    Raises:
        FileNotFoundError: The sweep or its config does not exist.
        ValueError: The sweep lacks a key, an arm is no dict, is trained as one that has no training or taught
            by one that does not come before it, or an ensemble is of no arm.
    """
    from mmengine.config import Config

    if not path.is_file():
        raise FileNotFoundError(f"sweep {path} does not exist")
    found = Config.fromfile(path).to_dict()
    missing = [key for key in ("config", "seeds", "arms") if key not in found]
    if missing:
        raise ValueError(f"{path}: a sweep says config, seeds and arms; this one lacks {', '.join(missing)}")
    sweep = {key: found[key] for key in ("config", "seeds", "arms")}
    baseline = found.get("baseline")
    if baseline is not None and baseline not in sweep["arms"]:
        raise ValueError(f"{path}: the baseline {baseline!r} is no arm; arms are {sorted(sweep['arms'])}")
    sweep["ensembles"] = found.get("ensembles", {})
    for name in (*sweep["arms"], *sweep["ensembles"]):
        if safe_name(name) != name:
            raise ValueError(
                f"{path}: {name!r} names files, so it must be a plain name, as {safe_name(name)!r}"
            )
    for arm, options in sweep["arms"].items():
        if not isinstance(options, dict):
            raise ValueError(f"{path}: arm {arm!r} must be a dict of config values, got {options!r}")
    arms = sweep["arms"]
    sweep["trained_as"] = {arm: options.pop("trained_as", arm) for arm, options in arms.items()}
    sweep["teachers"] = {arm: options.pop("teacher") for arm, options in arms.items() if "teacher" in options}
    for arm, name in sweep["teachers"].items():
        order = list(arms)
        if sweep["trained_as"].get(name) != name or order.index(name) >= order.index(arm):
            raise ValueError(f"{path}: the teacher of arm {arm!r}, {name!r}, is no trained arm before it")
    for arm, name in sweep["trained_as"].items():
        if sweep["trained_as"].get(name) != name:
            raise ValueError(
                f"{path}: arm {arm!r} is trained as {name!r}, which is no arm with a training of its own"
            )
    unknown = sorted(set(sweep["ensembles"].values()) - set(arms))
    if unknown:
        raise ValueError(f"{path}: ensembles of {unknown}, which are no arms")
    sweep["arms"] = {arm: arms[sweep["trained_as"][arm]] | options for arm, options in arms.items()}
    sweep["config"] = (path.parent / sweep["config"]).resolve()
    if not sweep["config"].is_file():
        raise FileNotFoundError(f"{path}: its config {sweep['config']} does not exist")
    return sweep


def train_arm(sweep: dict[str, Any], arm: str, seed: int, work: Path) -> dict[str, Any]:
    """Train one variant with one seed, after its teacher, or go on where that was stopped.

    Returns:
        The values of its config, the teacher's checkpoint among them.

    Raises:
        ConfigError: The work folder holds a run with other values.
    """
    from mmlandmark.apis import claim_folder, prepare_config
    from mmlandmark.engine import latest_checkpoint

    folder, options = work / f"{arm}_seed{seed}", dict(sweep["arms"][arm])
    teacher = sweep["teachers"].get(arm)
    claimed = dict(options)
    if teacher is not None:
        train_arm(sweep, teacher, seed, work)  # ends at once where that has been done
        options["model.teacher.checkpoint"] = str(latest_checkpoint(work / f"{teacher}_seed{seed}"))
        taught = read_json(work / f"{teacher}_seed{seed}" / "run.json")["config_hash"]
        claimed["model.teacher.checkpoint"] = f"arm {teacher}, {taught}"  # wherever its folder lies
    claim_folder(folder, prepare_config(sweep["config"], options=claimed, seed=seed))
    words = ["--work-dir", str(folder), "--seed", str(seed), "--resume", "auto"]
    run_command("train", str(sweep["config"]), *words, options=options)
    return options


def run_arm(sweep: dict[str, Any], arm: str, seed: int, work: Path, record: Path) -> None:
    """Train one variant with one seed, going on where it was stopped, and record its test."""
    trained = sweep["trained_as"][arm]
    options = train_arm(sweep, trained, seed, work) | sweep["arms"][arm]
    words = ["--work-dir", str(work / f"{trained}_seed{seed}"), "--no-figures", "--record", str(record)]
    run_command("test", str(sweep["config"]), *words, options=options)


def run_ensemble(sweep: dict[str, Any], name: str, work: Path, record: Path) -> None:
    """Test the mean of all seeds of an arm, with what the arm changes at the test."""
    arm = sweep["ensembles"][name]
    trained = sweep["trained_as"][arm]
    folders = [str(work / f"{trained}_seed{seed}") for seed in sweep["seeds"]]
    tested = {k: v for k, v in sweep["arms"][arm].items() if sweep["arms"][trained].get(k) != v}
    out = ["--out", str(work / name), "--record", str(record)]
    run_command("ensemble", *folders, *out, options=tested)


def run_command(command: str, *words: str, options: dict[str, Any]) -> None:
    """Run a command with ``--cfg-options``; end with its code if that is not 0."""
    changed = [f"{key}={value!r}" for key, value in options.items()]
    line = [
        sys.executable,
        "-m",
        "mmlandmark",
        command,
        *words,
        *(["--cfg-options", *changed] if changed else []),
    ]
    code = subprocess.run(line).returncode
    if code:
        sys.exit(code)


def run(args: argparse.Namespace) -> None:
    """Run what is missing of a sweep."""
    sweep = load_sweep(args.sweep)
    arms = args.arms or list(sweep["arms"])
    unknown = sorted(set(arms) - set(sweep["arms"]))
    if unknown:
        raise ValueError(f"{args.sweep} has no arms {unknown}; it has {sorted(sweep['arms'])}")
    name = args.sweep.stem
    results = args.results or args.sweep.resolve().parents[1] / "results" / name
    work = args.work_dir or Path("work_dirs") / name
    # Seed by seed, so that all variants have as many runs as each other wherever it is stopped.
    for seed in args.seeds or sweep["seeds"]:
        for arm in arms:
            record = results / f"{arm}_seed{seed}.json"
            if record.is_file():
                print(f"{record}: recorded already")
            elif args.list:
                print(f"{record}: to be done")
            else:
                print(f"{record}: running", flush=True)
                run_arm(sweep, arm, seed, work, record)
    for ensemble, arm in sweep["ensembles"].items():
        record = results / f"{ensemble}.json"
        missing = [seed for seed in sweep["seeds"] if not (results / f"{arm}_seed{seed}.json").is_file()]
        if record.is_file():
            print(f"{record}: recorded already")
        elif missing or args.list:
            print(f"{record}: to be done" + (f", when {arm} has seeds {missing}" if missing else ""))
        else:
            print(f"{record}: running", flush=True)
            run_ensemble(sweep, ensemble, work, record)
