"""Train and test variants of one config under several seeds, and record the results.

A sweep is a Python file with `config` (a config file, relative to the sweep), `seeds` and `arms`: name of the
variant -> values that differ, as for `--cfg-options`. An arm that differs from another only in the test names
it as `trained_as` and shares its training; another method has a `config` of its own. `inputs` gives an arm's
model the checkpoint of another arm with the same seed, or, as `load_from`, its weights to start from.
`ensembles`, name -> arm, tests the mean of an arm's seeds, and {"arms": [...], "average": "median"} that of
several arms. `baseline` names the arm with which mmlandmark collect compares all others.
Records go to results/<sweep>/ of the method. Recorded runs are skipped, so that the same command resumes a
sweep that was stopped; a record of another config than its arm has now is refused. Several processes can
share the runs of one folder:

    mmlandmark sweep configs/farnet/sweeps/table2_isbi2015_160x128_cpu.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

RESUMABLE = True  # a request to stop is taken, and the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark sweep``."""
    parser.add_argument("sweep", type=Path, help="sweep file")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="run only these variants")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="run only these seeds")
    parser.add_argument("--work-dir", type=Path, help="folder of the runs; default work_dirs/<sweep>")
    parser.add_argument(
        "--results", type=Path, help="folder of the records; default results/<sweep> of the method"
    )
    parser.add_argument("--list", action="store_true", help="show the state of every run, run nothing")


def run(args: argparse.Namespace) -> None:
    """Run what is not recorded yet."""
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
