"""The command ``mmlandmark print-config``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("print-config")
