"""The command ``mmlandmark check-cuda-compile``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("check-cuda-compile")
