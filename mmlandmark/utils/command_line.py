"""What all commands share: arguments, and how a command exits. Importing it is cheap."""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from mmlandmark.utils.stop_requests import EX_TEMPFAIL, EndedBySignal, taking_requests

EXIT_NOTE = "MMLANDMARK_EXIT_NOTE"  # names the file in which processes of a run that stopped note their code
_LAST = 2.0  # seconds by which the main process of a run that stopped ends after the others

_PARENT = str(Path(__file__).resolve().parents[2])
# The path of a child begins with the current folder, and usually has this package further behind.
_CHILD = (
    f"import sys; sys.path.count('') and sys.path.remove(''); "
    f"{_PARENT!r} in sys.path or sys.path.insert(0, {_PARENT!r}); "
    "from mmlandmark.cli import main; main()"
)


class KeyValues(argparse.Action):
    """Collect ``key.sub=value`` pairs in a dict; see :func:`parse_value` for the values."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, separator, text = pair.partition("=")
            if not separator or not key:
                parser.error(f"{option_string} takes key=value, got {pair!r}")
            options[key] = parse_value(text)
        setattr(namespace, self.dest, options)


class NamedFiles(argparse.Action):
    """Collect ``name=file`` pairs in a dict."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        files = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            name, _, file = pair.partition("=")
            if not name or not file:
                parser.error(f"{option_string} takes name=file, got {pair!r}")
            files[name] = file
        setattr(namespace, self.dest, files)


class TrustPackages(argparse.Action):
    """Trust packages that configs in JSON and YAML, and those of runs, may import."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        known = [part for part in os.environ.get("MMLANDMARK_TRUST", "").split(",") if part]
        os.environ["MMLANDMARK_TRUST"] = ",".join([*known, *values])
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


def parse_value(text: str) -> Any:
    """Return the Python literal that ``text`` is; ``a,b`` is a list, anything else a string."""
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [parse_value(part) for part in text.split(",")] if "," in text else text
    return list(value) if isinstance(value, tuple) and not text.lstrip().startswith("(") else value


def positive_number(text: str) -> int:
    """Return an integer of 1 or more, for ``type=`` of an argument."""
    return _integer(text, at_least=1)


def natural_number(text: str) -> int:
    """Return an integer of 0 or more, for ``type=`` of an argument."""
    return _integer(text, at_least=0)


def _integer(text: str, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
    if value < at_least:
        raise argparse.ArgumentTypeError(f"{text} is below {at_least}")
    return value


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``--work-dir``, ``--cfg-options``, ``--launcher`` and ``--trust``."""
    parser.add_argument("config", help="config file, or model file")
    parser.add_argument("--work-dir", help="folder of the results; default work_dirs/<config name>")
    add_options_argument(parser)
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm", "mpi"), help="what started several processes"
    )
    add_trust_argument(parser)


def add_options_argument(parser: argparse.ArgumentParser, help: str = "override config values") -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        "--cfg-options", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE", help=help
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        "--trust", nargs="+", action=TrustPackages, metavar="PACKAGE",
        help="packages that a config in JSON or YAML, or one left by a run, may import",
    )  # fmt: skip


def add_landmarks_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--landmarks``."""
    parser.add_argument(
        "--landmarks",
        metavar="0-4,nasion",
        help="of a config with per_landmark, only these: places from 0 on, ranges and names",
    )


def add_verbose_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbose``."""
    parser.add_argument("--verbose", action="store_true", help="show the whole log on the terminal")


def command_line(name: str, *words: object) -> list[str]:
    """Return the command line that runs ``mmlandmark <name> ...`` of this package, for a child process.

    Unlike ``python -m mmlandmark`` it does not import a folder of that name in the current folder.
    """
    return [sys.executable, "-c", _CHILD, name, *map(str, words)]


def run_and_exit(
    main: Callable[[], Any], error_code: int = 1, traceback: bool = False, resumable: bool = False
) -> NoReturn:
    """Run a program and exit; an error that the user can fix is printed as one line, without a traceback.

    A RuntimeError with an ``exit_code``, such as that of a run that stopped in time and can be resumed, is no
    error: its message is printed and the program exits with that code. Ctrl-C and SIGTERM exit at once, with
    130 and 143; whatever was saved before is complete.

    Args:
        main: Returns the exit code; None is 0.
        error_code: Exit code of an error, if 1 has another meaning.
        traceback: Let errors pass, so that Python prints the traceback.
        resumable: Take Ctrl-C, SIGTERM and SIGUSR1 as requests to stop where the program can be continued;
            it then exits with 75, see :mod:`mmlandmark.utils.stop_requests`.
    """
    if EXIT_NOTE in os.environ:  # it is of the processes in whose place these are
        Path(os.environ[EXIT_NOTE]).unlink(missing_ok=True)
    with taking_requests() if resumable else _ended_by_sigterm():
        try:
            code, said = main() or 0, ""
        except KeyboardInterrupt as stop:
            code = getattr(stop, "exit_code", 130)
            said = str(stop) or ("stopped: the same command goes on" if code == EX_TEMPFAIL else "stopped")
        except BrokenPipeError:  # whoever read the output has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code, said = 141, ""
        except (OSError, ValueError, KeyError, TypeError, FloatingPointError) as error:
            if traceback:
                raise
            where = "(--traceback shows where it was raised)"
            code, said = error_code, f"error: {_sentence(error)}\n{where}"
        except RuntimeError as end:
            if not hasattr(end, "exit_code"):
                raise
            code, said = end.exit_code, str(end)
        if said and (code != EX_TEMPFAIL or os.environ.get("RANK", "0") == "0"):
            print(said, file=sys.stderr)
        if code in (0, EX_TEMPFAIL):
            code = _leave_process_group(code)
    sys.exit(code)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End the program on SIGTERM as on Ctrl-C; a process that it forked ends at once."""
    owner = os.getpid()

    def handle(number: int, _: Any) -> None:
        if os.getpid() == owner:
            raise EndedBySignal(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sentence(error: Exception) -> str:
    """Return the message of an error without what only a program needs."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if "Original Traceback" in message:  # from a worker of a data loader; the last line is the error
        message = message.strip().splitlines()[-1]
    return message


def _leave_process_group(code: int) -> int:
    """End the threads through which processes without GPUs communicate, and return the exit code.

    If a model still holds them when the interpreter ends, it aborts although all is done (pytorch issue
    190489); a runner and its loops refer to each other until they are garbage-collected.

    torchrun and srun end all processes of a run, or start them again, as soon as one fails. So of a run that
    stopped in time all processes end well, and note the code for :func:`mmlandmark.engine.launching.launch`.
    Without it the main process alone has the code, and ends after the others.
    """
    distributed = sys.modules.get("torch.distributed")  # a command that did not need torch does not load it
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return code
    main = distributed.get_rank() == 0
    if distributed.get_backend() == "gloo":
        gc.collect()
        distributed.destroy_process_group()
    if code == 0:
        return 0
    if EXIT_NOTE in os.environ:
        Path(os.environ[EXIT_NOTE]).write_text(str(code), encoding="utf-8")
        return 0
    if not main:
        return 0
    time.sleep(_LAST)
    return code
