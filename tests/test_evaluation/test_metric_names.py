"""Keys of metrics: their order, titles and digits."""

from __future__ import annotations

import pytest

from mmlandmark.evaluation import format_metric, headline_metrics, metric_title


def test_order_of_columns():
    keys = [
        "pearson_rho",
        "sdr_10px",
        "sdr_2.5mm",
        "strict/sdr_2mm",
        "sdr_2mm",
        "num_images",
        "mre",
        "mre_p95",
    ]
    rates = ["sdr_2mm", "strict/sdr_2mm", "sdr_2.5mm", "sdr_10px"]
    assert headline_metrics(keys) == ["mre", *rates, "pearson_rho"]
    assert headline_metrics(["coordinate_mse", "b/mre", "a/mre"]) == ["a/mre", "b/mre", "coordinate_mse"]


@pytest.mark.parametrize(
    ("key", "keys", "title"),
    [
        ("mre", ["mre", "sdr_2mm"], "MRE (mm)"),
        ("mre", ["mre", "sdr_2mm", "sdr_4px"], "MRE"),  # the unit is unknown
        ("mre", [], "MRE"),
        ("pair15/mre", ["pair15/mre", "pair15/sdr_2mm"], "pair15 MRE (mm)"),
        ("sdr_2.5mm", [], "SDR 2.5 mm"),
        ("strict/sdr_4px", [], "strict SDR 4 px"),
        ("coordinate_mse", [], "MSE (fraction of the image)"),
    ],
)
def test_titles(key, keys, title):
    assert metric_title(key, keys) == title


@pytest.mark.parametrize(
    ("key", "values", "text"),
    [
        ("mre", [1.23456], "1.235"),
        ("mre", [1.0, 1.2], "1.100 ± 0.141"),
        ("sdr_2mm", [80.0], "80.00"),
        ("coordinate_mse", [0.001714], "0.00171"),
        ("a/pearson_rho", [0.98765], "0.9877"),
    ],
)
def test_digits(key, values, text):
    assert format_metric(key, *values) == text
