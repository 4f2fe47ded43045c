"""Classes by thresholds."""

from __future__ import annotations

import math

import pytest

from mmlandmark.structures.measure_classes import checked_classes, class_limits, class_of

# The modified Wits of ISBI 2015: closed and open ends, and a class of a single value.
MW = [
    dict(label="cross bite", code=3, below=0),
    dict(label="edge to edge", code=2, to=0),
    dict(label="small", code=3, below=2),
    dict(label="normal", code=1, to=4.5),
    dict(label="large", code=4),
]


@pytest.mark.parametrize(
    ("value", "place"),
    [(-math.inf, 0), (-1e-9, 0), (0, 1), (1e-9, 2), (1.999, 2), (2, 3), (4.5, 3), (4.501, 4), (math.inf, 4)],
)
def test_ends_belong_to_the_class_that_says_so(value, place):
    assert class_of(value, checked_classes(MW, "here")) == place


def test_no_class():
    assert class_of(math.nan, MW) is None
    assert class_of(0.0, []) is None
    closed = [dict(label="low", below=2), dict(label="normal", to=4.5)]
    assert class_of(4.5, closed) == 1
    assert class_of(4.6, closed) is None


def test_limits():
    assert [class_limits(place, MW) for place in range(5)] == [
        (-math.inf, 0.0),
        (0.0, 0.0),
        (0.0, 2.0),
        (2.0, 4.5),
        (4.5, math.inf),
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "needs a list as 'classes'"),
        ("low", "needs a list as 'classes'"),
        (["low"], "has class 'low', which is no object"),
        ([dict(below=1)], "needs printable text as 'label'"),
        ([dict(label=" ", below=1)], "needs printable text as 'label'"),
        ([dict(labels="a")], r"unknown \['labels'\] \(did you mean 'label' for 'labels'\?\)"),
        ([dict(label="a"), dict(label="b")], "class 'a', which needs 'below' or 'to'"),
        ([dict(label="a", below=1, to=1)], "class 'a', which needs 'below' or 'to'"),
        ([dict(label="a", below="1")], "up to '1', which must be a number above"),
        ([dict(label="a", below=True)], "up to True, which must be a number above"),
        ([dict(label="a", below=math.nan)], "up to nan, which must be a number above"),
        ([dict(label="a", below=2), dict(label="b", to=1)], "class 'b' up to 1, which must be"),
        ([dict(label="a", to=2), dict(label="b", below=2)], "class 'b' up to 2, which must be"),
        ([dict(label="a", below=2), dict(label="b", below=2)], "class 'b' up to 2, which must be"),
        ([dict(label="a", below=2), dict(label="a")], "two classes of one label"),
        ([dict(label="a", code="1")], "code '1', which is no whole number"),
        ([dict(label="a", code=True)], "code True, which is no whole number"),
    ],
)
def test_faults_are_named(classes, message):
    with pytest.raises(ValueError, match=f"here.*{message}"):
        checked_classes(classes, "here")
