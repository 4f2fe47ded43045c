"""Every example in a docstring runs and shows what it says; the rooms named here have examples."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mmlandmark

MODULES = ["mmlandmark", *(m.name for m in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    module = importlib.import_module(name)
    failures, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failures == 0, f"{failures} examples of {name} are wrong, see above"


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("mmlandmark.ops", set()),
        ("mmlandmark.evaluation.functional", {"mean_interval", "outlier_rate"}),
        ("mmlandmark.structures.coordinates", {"translation_matrix", "scale_matrix", "invert_matrix"}),
    ],
)
def test_most_used_functions_have_an_example(name, without):
    module = importlib.import_module(name)
    found = {
        key
        for key, value in vars(module).items()
        if callable(value)
        and not key.startswith("_")
        and not isinstance(value, type)
        and getattr(value, "__module__", "").startswith(name)
    }
    assert found, "no public functions, so this test looks at nothing"
    assert {key for key in found if ">>>" not in (getattr(module, key).__doc__ or "")} == without
