"""Any file of a release is read, or refused in one error that names it."""

from __future__ import annotations

import os

from mmlandmark.testing.fuzz import Plan
from test_datasets.fuzz_cases import release_cases

# 10000 and more, on request: MMLANDMARK_FUZZ=10000 make test PYTEST_ARGS="-k fuzzing"
COUNT = int(os.environ.get("MMLANDMARK_FUZZ", "160"))


def test_no_file_of_a_release_is_a_surprise(tmp_path):
    plan = Plan(release_cases(tmp_path), tmp_path, seed=0)
    outcomes = {job: plan.attempt(job, tmp_path) for job in plan.jobs(COUNT)}
    faults = [f"{plan.cases[job.case].name} {job.number}: {o}" for job, o in outcomes.items() if o.is_fault]
    assert not faults, "\n".join(faults)
    assert {"read", "refused"} == {outcome.end for outcome in outcomes.values()}
    assert len(outcomes) == COUNT
