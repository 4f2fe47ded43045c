"""Every method goes through its phases; one is killed once here, all by ``mmlandmark.testing.kills``."""

from __future__ import annotations

import multiprocessing

import pytest

from mmlandmark.datasets.phantom import phantom_dataset
from mmlandmark.testing import kill_methods, kills
from mmlandmark.testing.kill_methods import METHODS

# Method -> files that only a run through all of its phases leaves.
PHASES = {
    "supervised": ["epoch_2.pth", "run.json"],
    "distillation": ["01_teacher/epoch_1.pth", "02_student/epoch_2.pth"],
    "cross-validation": ["fold_0/epoch_2.pth", "fold_1/epoch_2.pth", "cross_validation.json"],
    "sweep": ["runs/first_seed1/epoch_1.pth", "results/second_seed1.json"],
    "self-training": ["02_self_train/pseudo_labels/epoch_1.json", "03_fine_tune/epoch_1.pth"],
    "self-training by batch": ["02_self_train/epoch_2.pth", "03_fine_tune/epoch_1.pth"],
    "one-shot plan": [
        "detector/plan.json",
        "detector/run/01_ssl/epoch_2.pth",
        "detector/run/02_student/pseudo_labels/epoch_0.json",
        "detector.mml.pth",
    ],
    "model per landmark": ["01_menton/02_sla/pseudo_labels/epoch_1.json", "detector/detector.pth"],
}


def test_all_methods_are_known():
    assert list(METHODS) == list(PHASES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cross-validation", "sweep", pytest.param("one-shot plan", marks=pytest.mark.slow)]
)
def test_it_goes_through_all_phases(tmp_path, name):
    method = METHODS[name]
    (tmp_path / "site").mkdir()
    with kill_methods.quick(), method.held():
        folder = kills.undisturbed(method.prepare(tmp_path / "site"), tmp_path / "out")
    assert [file for file in PHASES[name] if not (folder / file).is_file()] == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_killed_student_learns_on_from_its_teacher(tmp_path):
    (row,) = kills.kill(METHODS["distillation"], tmp_path, 1, seed=3)
    assert row["fault"] is None
    assert [file for file in PHASES["distillation"] if not (tmp_path / "whole" / file).is_file()] == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_notes_that_a_kill_has_prevented_are_written_when_a_sweep_goes_on(tmp_path):
    """Of the last checkpoint of a run, and of a test that is already recorded."""
    method, first = METHODS["sweep"], "/runs/first_seed0"
    moments = [
        kills.Moment("behind a checkpoint", "write", 1, f"{first}/epoch_1.pth", whole=True),
        kills.Moment("behind a record", "write", 1, "/results/first_seed0.json", whole=True),
        kills.Moment("in the note of a test", "write", 3, f"{first}/run.json"),
    ]
    (tmp_path / "site").mkdir()
    with kill_methods.quick(), method.held():
        words = [*method.prepare(tmp_path / "site"), "--arms", "first", "--seeds", "0"]
        expected = kills.left_behind(kills.undisturbed(words, tmp_path / "whole"))
        assert expected["metrics"][f"{first[1:]}/first_seed0/mre"] > 0
        for number, moment in enumerate(moments):
            folder, log = tmp_path / f"{number}", tmp_path / f"{number}.log"
            assert kills._fault(words, folder, moment, log, expected) is None, moment.name


def test_phantoms_are_rendered_once_and_nobody_changes_them():
    data = dict(kind="ceph", num_samples=1, size=[32, 32], pipeline=[])
    with kill_methods.quick():
        first = phantom_dataset.PhantomDataset(**data).get_data_info(0)["img"]
        first[:] = 0
        again = phantom_dataset.PhantomDataset(**data).get_data_info(0)["img"]
    assert again.any()
    assert (again == phantom_dataset.PhantomDataset(**data).get_data_info(0)["img"]).all()
