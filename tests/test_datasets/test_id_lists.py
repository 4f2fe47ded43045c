"""Lists of ids, in a config or in a text file."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.id_lists import read_ids
from test_datasets.six_cases import build


def test_ids_from_a_text_file(root):
    (root / "list.txt").write_text("case4\n\n case1 \n")
    assert [r["sample_id"] for r in build(root, ids="list.txt")] == ["case4", "case1"]


def test_a_list_of_ids_is_found_where_a_tool_printed_it(root, tmp_path, monkeypatch):
    (tmp_path / "here" / "splits").mkdir(parents=True)
    (tmp_path / "here" / "splits" / "train.txt").write_text("case3\ncase1\n")
    monkeypatch.chdir(tmp_path / "here")
    assert [r["sample_id"] for r in build(root, ids="splits/train.txt")] == ["case3", "case1"]
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("case3\ncase1\n")
    assert len(build(root, ids="splits/train.txt")) == 2
    (root / "splits" / "train.txt").write_text("case0\n")
    with pytest.raises(
        ValueError, match=r"two lists of ids that differ, .*splits/train\.txt and .*here/splits"
    ):
        build(root, ids="splits/train.txt")
    with pytest.raises(FileNotFoundError, match=r"list of ids .*splits/test\.txt' does not exist"):
        build(root, ids="splits/test.txt")


def test_ids_in_a_config():
    assert read_ids(["a", 7]) == (["a", "7"], "ids")
    with pytest.raises(ValueError, match=r"ids: ids listed twice: \['a'\]"):
        read_ids(["a", "b", "a"])
    with pytest.raises(ValueError, match="ids: no ids"):
        read_ids([])
