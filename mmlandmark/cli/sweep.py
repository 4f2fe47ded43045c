"""Train and test variants of one config under several seeds, and record the results.

A sweep is a Python file with `config` (a config file, relative to the sweep), `seeds` and `arms`: name of the
variant -> values that differ, as `--cfg-options` takes them. `trained_as` names an arm whose training serves
this one too, where they differ in the test only; `inputs` gives an arm's model the checkpoint of another arm,
seed by seed. `ensembles`, name -> arm, tests the mean of an arm's seeds. `baseline` names the arm that
mmlandmark collect tests all others against.
Records go to results/<sweep>/ of the sweep's method; what is on record is not run again, so that the same
command resumes a sweep that was stopped. Several processes may run it in one folder, to share the runs:

    mmlandmark sweep configs/farnet/sweeps/table2_isbi2015_160x128_cpu.py
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark sweep``."""
    parser.add_argument("sweep", type=Path, help="sweep file")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these variants")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--work-dir", type=Path, help="where runs go; work_dirs/<sweep> by default")
    parser.add_argument("--results", type=Path, help="where records go; results/<sweep> of the method")
    parser.add_argument("--list", action="store_true", help="show the state of every run, run nothing")


def run(args: argparse.Namespace) -> None:
    """Run what is missing of a sweep."""
    from mmlandmark.apis import load_sweep, plan_of_sweep, run_plan
    from mmlandmark.engine import describe_plan

    sweep = load_sweep(args.sweep)
    results = args.results or args.sweep.resolve().parents[1] / "results" / sweep.name
    work_dir = args.work_dir or Path("work_dirs") / sweep.name
    plan = plan_of_sweep(sweep, work_dir, results, args.arms, args.seeds)
    if args.list:
        print(describe_plan(plan))
    else:
        run_plan(plan)
