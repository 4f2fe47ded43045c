"""Folders of results are known by what lies beside them."""

from mmlandmark.utils.result_folders import result_folders


def test_a_name_alone_makes_no_result():
    assert result_folders(["a.png", "plan.json", "run"]) == ()
    assert result_folders(["journal.jsonl"]) == ("overlays",)
    assert result_folders(["plan.json", "config.py", "images.txt"]) == ("run", "cache")
    assert set(result_folders(["plan.json", "config.py", "journal.jsonl"])) == {"overlays", "run", "cache"}
