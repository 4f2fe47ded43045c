"""Headers claim what they are told to, in every format of images, and nothing else of a file changes."""

from __future__ import annotations

import shutil

import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.testing.claimed_sizes import CLAIMS, ClaimPlan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    for package in ("SimpleITK", "nibabel", "pydicom"):
        pytest.importorskip(package)
    return ClaimPlan(tmp_path_factory.mktemp("claims"), seed=0)


def test_every_format_claims(plan):
    assert {case.format for case in plan.cases} == set(CLAIMS)


def test_headers_say_what_they_are_told_to(plan, tmp_path):
    for job in plan.jobs(len(plan.cases)):
        case, given = plan.cases[job.case], plan.input(job)
        folder = tmp_path / case.name
        shutil.copytree(case.place(plan.root), folder)
        (folder / case.target).write_bytes(given.data)
        with pytest.raises(ValueError, match="claims") as refused:
            read_image(folder / case.target)
        sides = [int(side) for side in given.changes[0].split(" x ")]
        assert all(f"{side:,}" in str(refused.value) for side in sides), case.name
        assert 10_000 <= min(sides) <= max(sides) <= CLAIMS[case.format][1]


def test_sizes_depend_on_seed_and_number(plan, tmp_path):
    jobs = plan.jobs(2 * len(plan.cases))
    assert [plan.input(job) for job in jobs] == [plan.input(job) for job in jobs]
    assert len({plan.input(job).changes for job in jobs}) > len(plan.cases)
    other = ClaimPlan(tmp_path, seed=1)
    assert other.input(jobs[0]) != plan.input(jobs[0])
