"""The annotations of the fuzzer are valid and of all formats, and nonsense in records is told."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.registry import WRITERS
from mmlandmark.testing.fuzz_annotations import annotation_cases, check_records
from mmlandmark.testing.fuzz_case import Nonsense


def test_every_format_is_there_and_valid(tmp_path):
    cases = annotation_cases(tmp_path)
    for case in cases:
        case.read(case.place(tmp_path))
    assert {case.format for case in cases} == {
        "JSON", "CSV", "COCO", "CVAT", "mrk.json", "fcsv", "points", "TPS", "schema", "list of ids",
    }  # fmt: skip
    assert {f"written_{name}" for name in WRITERS.module_dict} <= {case.name for case in cases}
    assert len({case.name for case in cases}) == len(cases)


class Records(LandmarkDataset):
    """A dataset that hands out whatever it is given."""

    def __init__(self, *records):
        self.given = records
        super().__init__(schema=dict(name="one", landmarks=["a"]), lazy_init=True)

    def __len__(self):
        return len(self.given)

    def get_data_info(self, idx):
        return dict(dict(sample_id="a", landmarks=np.ones((1, 2)), spacing=None), **self.given[idx])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(landmarks=np.ones((2, 2))), r"\(2, 2\) landmarks for \(1, 2\)"),
        (dict(landmarks=np.array([[1, np.nan]])), "half a point"),
        (dict(landmarks=np.array([[1, np.inf]])), "infinite"),
        (dict(spacing=(0.1, 0.0)), "spacing"),
        (dict(sample_id="a\nb"), "not one line"),
        (dict(visibility=[2]), "visibility"),
        (dict(weights=[-1.0]), "weights"),
    ],
)
def test_nonsense_in_a_record_is_told(change, told):
    with pytest.raises(Nonsense, match=told):
        check_records(Records(change))


def test_ids_that_are_there_twice_are_told():
    check_records(Records({}))
    with pytest.raises(Nonsense, match="two samples of one id"):
        check_records(Records({}, {}))
