"""The command ``mmlandmark train``; ``--teacher FILE`` is short for ``--input teacher=FILE``."""

import sys

from mmlandmark.cli import run_command

if __name__ == "__main__":
    for place in reversed([index for index, word in enumerate(sys.argv) if word == "--teacher"]):
        sys.argv[place : place + 2] = [
            "--input",
            *(f"teacher={file}" for file in sys.argv[place + 1 : place + 2]),
        ]
    run_command("train")
