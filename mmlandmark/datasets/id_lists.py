"""Lists of sample ids, in a config or in a text file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlandmark.datasets.table_rows import legacy_text
from mmlandmark.datasets.values import sample_id_of
from mmlandmark.utils.files import expanded
from mmlandmark.utils.shipped import shipped_file


def read_ids(ids: str | Path | Sequence[str | int], root: str = "") -> tuple[list[str], str]:
    """Return sample ids from a list or a text file, and the name of their source.

    Args:
        ids: The ids, or a file with one id a line: below ``root`` or, as a tool prints it, below the folder
            in which the program runs; ``mmlandmark::<path>`` is one that is shipped with the configs.
        root: Folder of the data.

    Raises:
        FileNotFoundError: The text file does not exist.
        ValueError: There is no id, or one is listed twice; or two files of that name have different content.
    """
    if isinstance(ids, (str, Path)):
        name = expanded(ids, root)
        path = shipped_file(str(name)) or _id_list(name, root)
        given: Sequence[Any] = [line.strip() for line in legacy_text(path).split("\n") if line.strip()]
        where = str(path)
    else:
        given, where = ids, "ids"
    listed = [sample_id_of(i, where) for i in given]
    doubles = sorted(i for i, times in Counter(listed).items() if times > 1)
    if not listed or doubles:
        raise ValueError(f"{where}: " + (f"ids listed twice: {doubles[:5]}" if doubles else "no ids"))
    return listed, where


def _id_list(name: str, root: str) -> Path:
    """Return the file of that name below the folder of the data, or else below the current one."""
    path, here = Path(root, name), Path(name)
    if not path.is_file() and not here.is_file():
        tried = str(path) if path == here else f"{path}' or '{here}"
        raise FileNotFoundError(f"the list of ids '{tried}' does not exist")
    if path.is_file() and here.is_file() and path.read_bytes() != here.read_bytes():
        raise ValueError(
            f"there are two lists of ids that differ, {path} and {here.resolve()}; give a whole path"
        )
    return path if path.is_file() else here
