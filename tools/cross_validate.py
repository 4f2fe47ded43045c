"""The command ``mmlandmark cross-validate``."""

from mmlandmark.cli import run_command

if __name__ == "__main__":
    run_command("cross-validate")
