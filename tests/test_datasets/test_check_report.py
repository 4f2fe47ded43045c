"""The report of a check, as Markdown, HTML and lines."""

from __future__ import annotations

from mmlandmark.datasets.check_report import one_line, summarised, to_html, to_markdown, verdict
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.testing.planted_faults import phantom_annotations
from test_datasets.ladders import check_ladder, ladder


def test_names_in_a_report_are_text(tmp_path):
    report = check_ladder(tmp_path, ladder())
    finding = dict(
        check="spacing", sample_id="<b>x|y", message="[a](b) <script>", split="a|b", source="", image="",
        severity="warning", advice="x", landmarks=[], score=0.0,
    )  # fmt: skip
    report.update(findings=[finding], severities=dict(error=0, warning=1, note=0))
    page, text = to_html(report, "<title>"), to_markdown(report, "<title>")
    assert "<script>" not in page + text
    assert "<b>" not in page
    assert "&lt;title&gt;" in page
    assert "&lt;title&gt;" in text


def test_the_verdict_counts_findings_by_severity(tmp_path):
    points = ladder()
    report = check_ladder(tmp_path, points)
    assert verdict(report).startswith("Nothing was found (30 in train; schema ladder, 12 landmarks)")
    points[3, [4, 5]], points[8, 2] = points[3, [5, 4]], (0, 0)
    report = check_ladder(tmp_path, points)
    assert verdict(report).startswith("1 error, 1 warning (")
    assert [row["check"] for row in summarised(report)] == ["placeholder", "left-right swap"]
    assert one_line(report["findings"][0]).startswith("error: ")


def test_of_many_findings_a_few_are_shown_and_the_others_counted(tmp_path):
    points = ladder(60)
    points[:25, 7] = (119, 179)
    report = check_ladder(tmp_path, points)
    assert report["summary"]["placeholder"] == 25
    assert to_markdown(report).count("- `t") == 20
    assert "and 5 more, see the JSON file" in to_markdown(report)
    assert to_html(report).count("<li><code>t") == 20


def test_volumes_have_voxels():
    given = phantom_annotations("head", 3)
    given.points[0, 1] = given.points[0, 0] + 0.001
    report = check_dataset(dict(train=given.dataset()))
    text = to_markdown(report)
    assert "image x (voxels)" in text
    assert "mm/voxel x" in text
    assert "0.00 voxels apart" in text
    assert "px" not in text
