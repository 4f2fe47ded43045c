"""Any file is read, or refused in one error that names it: never a traceback, a hang, or nonsense."""

from __future__ import annotations

import os

import numpy as np
import pytest

from test_datasets.fuzz_cases import make_cases
from test_datasets.fuzzing import Case, attempt, mutate, run

# 10000 and more, on request: MMLANDMARK_FUZZ=10000 make test PYTEST_ARGS="-k fuzzing"
COUNT = int(os.environ.get("MMLANDMARK_FUZZ", "370"))


def test_no_input_is_a_surprise(tmp_path):
    ends, faults = run(make_cases(tmp_path), tmp_path, COUNT, seed=0)
    assert not faults, "\n".join(faults)
    assert ends == {"right": COUNT}


def test_changes_depend_on_the_seed_only_and_change_something():
    data = b'{"samples": [{"id": "a", "landmarks": [[1, 2]]}]}\n'
    changed = [mutate(data, np.random.default_rng((0, n)), text=True) for n in range(300)]
    assert changed == [mutate(data, np.random.default_rng((0, n)), text=True) for n in range(300)]
    assert sum(other != data for other in changed) > 250
    assert len(set(changed)) > 200


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TypeError("a.json: no"), "traceback: TypeError: a.json: no"),
        (ValueError("wrong"), "no file name: wrong"),
        (AssertionError("two ids"), "silent: two ids"),
        (ValueError("a.json: wrong"), None),
        (FileNotFoundError("a.json"), None),
    ],
)
def test_what_counts_as_a_fault(tmp_path, error, told):
    def read(folder):
        raise error

    found = attempt(Case("kind", "a.json", read), tmp_path, b"{}")
    assert (found is None) if told is None else found.startswith(told)
