"""Names of files of one case each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmlandmark.inference.case_files import case_file
from mmlandmark.inference.writers import case_outputs


@pytest.mark.parametrize(
    ("sample_id", "name"),
    [
        ("a", "a.png"),
        ("sub/a b", "sub/a b.png"),
        ("film (1), l'un & [2]~", "film (1), l'un & [2]~.png"),
        ("con", "_con~1143da2bc5.png"),
    ],
)
def test_an_id_stays_wherever_it_can_be_a_name(sample_id, name):
    assert case_file("out", sample_id, ".png") == Path("out", name)


@pytest.mark.parametrize("sample_id", ["../a", "/tmp/a", "..", "a/../../b", "a:b", ""])
def test_no_id_leads_out_of_the_folder(sample_id, tmp_path):
    path = case_file(tmp_path, sample_id, ".png")
    assert tmp_path.resolve() in path.resolve().parents
    assert path.name != ".png"


def test_files_of_a_case():
    assert case_outputs("out", "a/b") == [Path("out/slicer/a/b.mrk.json")]
