"""Run a command in several processes, on one machine or on several.

A training uses all of them:

    mmlandmark launch --processes 2 train CONFIG
    mmlandmark launch --processes 4 --nodes 2 --node-rank 0 --master node0:29500 train CONFIG
    mmlandmark launch --nodes 1:4 --rendezvous node0:29500 --restarts 3 train CONFIG --resume

With --master every machine is given its number by --node-rank. With --rendezvous all machines are given the
same command, find each other at that address, and may leave and come back. The exit code is that of the
process that failed first, or 75 if all were stopped and the same command goes on.
"""

from __future__ import annotations

import argparse
import os

from mmlandmark.utils.command_line import natural_number, positive_number

COMMANDS = ("train", "test", "cross-validate", "sweep")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark launch``."""
    parser.add_argument(
        "--processes", type=positive_number, help="on this machine; default one per GPU, or one"
    )
    parser.add_argument(
        "--nodes", default="1", metavar="N or MIN:MAX", help="machines; default 1; a range needs --rendezvous"
    )
    parser.add_argument(
        "--node-rank", type=natural_number, default=0, help="number of this machine, from 0, with --master"
    )
    parser.add_argument("--master", metavar="HOST[:PORT]", help="the machine of number 0, for all to reach")
    parser.add_argument(
        "--rendezvous", metavar="HOST[:PORT]", help="where machines find each other, on one of them"
    )
    parser.add_argument(
        "--job", default="mmlandmark", help="name of the run at the rendezvous; default mmlandmark"
    )
    parser.add_argument(
        "--restarts", type=natural_number, default=0,
        help="start all processes again, at most so often, if one fails; default 0",
    )  # fmt: skip
    parser.add_argument(
        "--wait", type=positive_number, default=30, metavar="SECONDS",
        help="for more machines at the rendezvous, once the fewest are there; default 30",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=positive_number,
        help="of each process on the CPU; default OMP_NUM_THREADS, or the cores divided by the processes",
    )  # fmt: skip
    parser.add_argument("command", choices=COMMANDS, help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")


def run(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from mmlandmark.engine.launching import agent_arguments, launch, threads_of_each, usual_processes

    processes = args.processes or usual_processes()
    agent = agent_arguments(
        processes, args.nodes, args.node_rank, args.master, args.rendezvous, args.job, args.restarts,
        args.wait,
    )  # fmt: skip
    if args.restarts or ":" in args.nodes:
        _check_resumed(args.command, args.arguments)
    if args.threads or "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(args.threads or threads_of_each(processes))
    return launch([args.command, *args.arguments], agent)


def _check_resumed(command: str, words: list[str]) -> None:
    """Raise ValueError if processes that are started again would begin from the start."""
    if command == "train" and not any(word.startswith("--resume") for word in words):
        raise ValueError(
            "processes that are started again have to go on where they were: give train --resume as well"
        )
