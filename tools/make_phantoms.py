"""The command ``mmlandmark phantoms``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("phantoms")
