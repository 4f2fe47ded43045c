"""The command line: one module per command, each with ``add_arguments(parser)`` and ``run(args)``.

Modules here import nothing heavy at their head, so that help and errors of arguments come at once.
"""

from mmlandmark.cli.entry import COMMANDS, invoke, main, run_command

__all__ = ["COMMANDS", "invoke", "main", "run_command"]
