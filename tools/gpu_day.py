"""The command ``mmlandmark gpu-day``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("gpu-day")
