"""The ``mmlandmark`` command: finds the module of a command, reads its arguments and runs it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from mmlandmark.utils.command_line import run_and_exit
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.version import __version__

GROUPS = {
    "train and test": (
        "plan",
        "self-train",
        "one-shot",
        "train",
        "test",
        "launch",
        "predict",
        "cross-validate",
        "sweep",
        "ensemble",
        "calibrate",
        "learn-shapes",
        "demo",
    ),
    "data": ("check", "browse", "split", "select-template", "convert", "pack-data", "phantoms"),
    "results": ("collect", "compare", "draw-figures"),
    "configs and models": ("pack", "print-config", "flops", "export"),
    "development": (
        "benchmark-loader",
        "benchmark-volumes",
        "benchmark-ops",
        "benchmark-training",
        "benchmark-inference",
        "benchmark-memory",
        "measure-checks",
        "check-cuda-compile",
        "gpu-wheels",
        "gpu-day",
    ),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``mmlandmark COMMAND ...`` and exit with its code.

    Args:
        argv: Words of the command line, those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="mmlandmark",
        usage="mmlandmark COMMAND ...",
        description="Anatomical landmark detection in medical images.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mmlandmark {__version__}")
    if words and words[0] in COMMANDS:
        run_command(words[0], words[1:], prog=f"mmlandmark {words[0]}")
    if words and not words[0].startswith("-"):
        near = did_you_mean([words[0]], COMMANDS)
        parser.error(f"there is no command {words[0]!r}{near}; mmlandmark --help lists all")
    parser.epilog = _list_commands()
    parser.parse_args(words)
    parser.print_help(sys.stderr)  # there is no command
    sys.exit(2)


def run_command(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> NoReturn:
    """Run one command and exit with its code; an error that the user can fix is one line.

    Args:
        name: Name of the command, as in ``COMMANDS``.
        argv: Its arguments, those of the process by default.
        prog: Name in the usage message, that of the script by default.
    """
    words = sys.argv[1:] if argv is None else argv
    run_and_exit(
        lambda: invoke(name, words, prog),
        error_code=getattr(load_command(name), "ERROR_CODE", 1),
        traceback="--traceback" in words,
        resumable=getattr(load_command(name), "RESUMABLE", False),
    )


def invoke(name: str, argv: Sequence[str], prog: str | None = None) -> int | None:
    """Run one command in this process and return its exit code; errors are raised.

    Args:
        name: Name of the command, as in ``COMMANDS``.
        argv: Its arguments.
        prog: Name in the usage message, that of the script by default.

    Raises:
        SystemExit: The arguments are wrong.
    """
    args = parse_arguments(name, argv, prog)
    args.words = list(argv)  # for a command that calls itself
    return load_command(name).run(args)


def parse_arguments(name: str, argv: Sequence[str], prog: str | None = None) -> argparse.Namespace:
    """Return the arguments of one command.

    Args:
        name: Name of the command, as in ``COMMANDS``.
        argv: Its arguments.
        prog: Name in the usage message, that of the script by default.

    Raises:
        SystemExit: They are wrong.
    """
    parser = make_parser(name, prog)
    # Positional arguments may follow the options that take several values; but not where the rest is the
    # command line of another command.
    rest = any(action.nargs == argparse.REMAINDER for action in parser._actions)
    return parser.parse_args(argv) if rest else parser.parse_intermixed_args(argv)


def make_parser(name: str, prog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of one command.

    Args:
        name: Name of the command, as in ``COMMANDS``.
        prog: Name in the usage message, that of the script by default.
    """
    module = load_command(name)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser


def load_command(name: str) -> ModuleType | Any:
    """Return the module of a command."""
    return importlib.import_module(f"mmlandmark.cli.{name.replace('-', '_')}")


def _list_commands() -> str:
    """Return all commands by group, each with the first sentence of its module."""
    lines = []
    for group, names in GROUPS.items():
        lines.append(f"{group}:")
        for name in names:
            summary = (load_command(name).__doc__ or "").splitlines()[0]
            lines.append(f"  {name:<20}{summary}")
        lines.append("")
    return "\n".join([*lines, "mmlandmark COMMAND --help lists the arguments of a command."])
