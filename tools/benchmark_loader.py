"""The command ``mmlandmark benchmark-loader``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("benchmark-loader")
