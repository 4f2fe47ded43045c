"""Arguments that the tools share; importing it costs nothing."""

from __future__ import annotations

import argparse
import ast
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


class CfgOptions(argparse.Action):
    """Collect ``key.sub=value`` pairs; values are Python literals, or strings where they are none."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, found, text = pair.partition("=")
            if not found or not key:
                parser.error(f"--cfg-options takes key=value, got {pair!r}")
            options[key] = parse_value(text)
        setattr(namespace, self.dest, options)


class Inputs(argparse.Action):
    """Collect ``name=file`` pairs."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        pairs = [pair.partition("=") for pair in values]
        for name, _, file in pairs:
            if not name or not file:
                parser.error(f"{option_string} takes name=file, got {name or '='!r}")
        setattr(namespace, self.dest, getattr(namespace, self.dest) | {name: file for name, _, file in pairs})


class Trust(argparse.Action):
    """Trust packages that configs in JSON and YAML, and those of runs, may name."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        known = [part for part in os.environ.get("MMLANDMARK_TRUST", "").split(",") if part]
        os.environ["MMLANDMARK_TRUST"] = ",".join([*known, *values])
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        "--trust",
        nargs="+",
        action=Trust,
        metavar="PACKAGE",
        help="let configs in JSON or YAML, and those that runs left, import these packages",
    )


def parse_value(text: str) -> Any:
    """Return the Python literal ``text`` stands for; ``a,b`` is a list, anything else a string."""
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [parse_value(part) for part in text.split(",")] if "," in text else text
    return list(value) if isinstance(value, tuple) and not text.lstrip().startswith("(") else value


def positive_number(text: str) -> int:
    """Return an integer above 0; argparse reports anything else."""
    return _integer(text, at_least=1)


def natural_number(text: str) -> int:
    """Return an integer of 0 or more; argparse reports anything else."""
    return _integer(text, at_least=0)


def _integer(text: str, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer") from None
    if value < at_least:
        raise argparse.ArgumentTypeError(f"{text} is below {at_least}")
    return value


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``--cfg-options``, ``--work-dir`` and ``--launcher``."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="where results go; work_dirs/<config name> by default")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=CfgOptions,
        default={},
        metavar="KEY=VALUE",
        help="override config values",
    )
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm", "mpi"), help="how several processes were started"
    )
    add_trust_argument(parser)


def add_verbose_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbose`` to a tool that runs something."""
    parser.add_argument("--verbose", action="store_true", help="show all of the log on the terminal")


def command_line(name: str, *words: object) -> list[str]:
    """Return the command line that runs ``mmlandmark <name> ...`` with this Python, for a child process."""
    return [sys.executable, "-m", "mmlandmark", name, *map(str, words)]


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""

    exit_code = 143


def run_tool(main: Callable[[], Any], error_code: int = 1, traceback: bool = False) -> None:
    """Run a tool; an error a user can mend is printed as one line instead of a traceback.

    What has an ``exit_code`` of its own, as a run that is to be gone on with, is no error: it is told and
    ends the tool with that code. Ctrl-C and SIGTERM end it at once, with the codes 130 and 143: what was
    saved before is whole.

    Args:
        main: Its return value is the exit code, None is 0.
        error_code: Exit code of an error, where 1 is taken.
        traceback: Raise errors as they are.
    """
    before = signal.signal(signal.SIGTERM, _terminate(os.getpid()))
    try:
        code = main() or 0
        _leave_process_group()
    except KeyboardInterrupt as stop:
        _end(str(stop) or "stopped", getattr(stop, "exit_code", 130))
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (OSError, ValueError, KeyError, TypeError, FloatingPointError) as error:
        if traceback:
            raise
        _end(
            f"error: {_sentence(error)}\n(run again with --traceback to see where it comes from)", error_code
        )
    except RuntimeError as end:
        if not hasattr(end, "exit_code"):
            raise
        _end(str(end), end.exit_code)
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)


def _end(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


def _sentence(error: Exception) -> str:
    """Return what an error says, without what only a program wants to know."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if "Original Traceback" in message:  # of a data loader's worker; its last line is the error
        message = message.strip().splitlines()[-1]
    return message


def _terminate(owner: int) -> Callable[[int, Any], None]:
    """Return what to do on SIGTERM: the tool's process ends as on Ctrl-C, one that it forked ends at once."""

    def handle(number: int, _: Any) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    return handle


def _leave_process_group() -> None:
    """End the threads through which processes without GPUs speak.

    A model that still holds them when the interpreter ends makes it abort, after all is done (pytorch issue
    190489); a runner and its loops hold each other until they are collected.
    """
    distributed = sys.modules.get("torch.distributed")  # a tool that never asked for torch need not load it
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_backend() == "gloo":
        gc.collect()
        distributed.destroy_process_group()
