"""``python -m mmlandmark`` is the ``mmlandmark`` command."""

from mmlandmark.cli import main

if __name__ == "__main__":
    main()
