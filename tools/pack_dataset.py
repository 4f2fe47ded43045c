"""The command ``mmlandmark pack-data``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("pack-data")
