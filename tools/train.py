"""The command ``mmlandmark train``; ``--teacher FILE`` is short for ``--input teacher=FILE``."""

import sys

from mmlandmark.cli import run_command

if __name__ == "__main__":
    words = iter(word.replace("--teacher=", "--input=teacher=", 1) for word in sys.argv[1:])
    run_command("train", [f"--input=teacher={next(words, '')}" if w == "--teacher" else w for w in words])
