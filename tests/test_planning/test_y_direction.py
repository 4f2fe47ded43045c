"""From which end y counts."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.image_checks import Pictures, flipped_fits_better
from mmlandmark.planning import OpenQuestion, find_data
from mmlandmark.planning.y_direction import choose_y_direction
from test_planning.kites import write_kites


@pytest.mark.parametrize(
    ("convention", "evidence", "given", "upwards", "why"),
    [
        ("top", None, None, False, "the format says so"),
        ("top", -9.0, None, False, "9.0 standard errors"),
        ("top", 9.0, True, True, "you said so"),
        ("unknown", None, None, False, "Else: --y-up"),
        ("unknown", 3.0, None, False, "3.0 standard errors"),
        ("unknown", 9.0, None, True, "fit together this way"),
        ("unknown", -9.0, None, False, "fit together this way"),
        ("bottom", 9.0, None, True, "as the format says"),
        ("bottom", -9.0, None, False, "although most programs"),
        ("bottom", None, False, False, "you said so"),
    ],
)
def test_format_and_images_decide(convention, evidence, given, upwards, why):
    choice = choose_y_direction(convention, evidence, given)
    assert choice.value is upwards
    assert why in choice.why


@pytest.mark.parametrize(("convention", "evidence"), [("top", 9.0), ("bottom", None), ("bottom", 2.0)])
def test_where_a_guess_may_be_wrong_the_user_is_asked(convention, evidence):
    with pytest.raises(OpenQuestion, match=r"^y: .*--y-up: .*--y-down: "):
        choose_y_direction(convention, evidence)


@pytest.mark.parametrize("y_up", [False, True])
def test_the_images_are_evidence(tmp_path, y_up):
    write_kites(tmp_path / "kites", "csv", y_up=y_up)
    cases = Cases({"all": find_data(tmp_path / "kites").build()})
    evidence = flipped_fits_better(cases, Pictures(cases))
    assert evidence > 4 if y_up else evidence < -4
