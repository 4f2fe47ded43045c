"""The command ``mmlandmark gpu-wheels``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("gpu-wheels")
