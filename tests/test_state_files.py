"""What the package writes to go on from has a checksum, and no damage to it passes in silence."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.shards import ShardIndex, ShardWriter
from mmlandmark.engine import RunFolder, best_checkpoint, latest_checkpoint
from mmlandmark.engine.checkpoint_files import note_best, note_latest
from mmlandmark.engine.config_data import config_to_data, read_config_of_run
from mmlandmark.engine.joined_landmarks import NOTE, _note
from mmlandmark.engine.label_rounds import LabelRound, read_labels, read_rounds
from mmlandmark.engine.run_folder import name_of_test, write_config
from mmlandmark.engine.training_state import Best
from mmlandmark.evaluation import LandmarkReport, TestedCases
from mmlandmark.inference import LandmarkInferencer, joined_predictions, predict_shards, predict_to_folder
from mmlandmark.inference.journal import Journal
from mmlandmark.inference.prediction_folder import SUMMARY, _earlier_formats
from mmlandmark.inference.written_files import WRITTEN, WrittenFiles
from mmlandmark.planning.plan_folder import read_plan
from mmlandmark.shape import PointDistributionModel
from mmlandmark.testing import tiny_config, tiny_model
from mmlandmark.testing.kill_methods import METHODS, quick
from mmlandmark.testing.kills import undisturbed
from mmlandmark.utils.files import read_json, read_state, write_state
from mmlandmark.utils.json_checksum import KEY, with_checksum
from mmlandmark.utils.result_folders import JOURNAL, PLAN
from part_of_cases import ALL

ROOT = Path(__file__).resolve().parents[1]
_LOG = re.compile(r"\d{8}_\d{6}(_\d+)?/(vis_data/)?\w+\.json")  # as MMEngine writes them
FLIPS = 400 if ALL else 100
# Modules that write JSON without a checksum, and why.
WITHOUT = {
    "apis/curve_figures.py": "numbers of a figure, for people",
    "apis/label_figures.py": "numbers of a figure, kept beside results on record",
    "evaluation/record.py": "results on record, which people merge",
    "inference/export/exporting.py": "for programs of others, which read an exported detector",
    "inference/writers/slicer_writer.py": "predictions, which people edit",
    "utils/timed_parts.py": "reports of measurements",
    **dict.fromkeys(
        ("cli/check.py", "cli/measure_checks.py", "cli/flops.py"), "reports of measurements, for people"
    ),
    **dict.fromkeys(("cli/phantoms.py", "cli/pack_data.py"), "annotations, which people edit"),
}


def labels():
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 7
    kept, apart = np.ones((2, 3), bool), np.full((2, 3), 0.25)
    return LabelRound(4, ("a", "b"), points, points + 1, kept, apart, np.ones(2, bool))


def shapes(path):
    generator = np.random.default_rng(0)
    PointDistributionModel.fit(generator.normal(size=(9, 3, 2)) * 9 + 50).save(path)


def report(path):
    errors = np.array([[1.25, 2.5], [0.5, 7.75]])
    LandmarkReport.from_errors(errors, ["a", "b"], unit="mm", radii=(2.0,)).save(path)


def packed(folder):
    with ShardWriter(folder, 10**6) as writer:
        for number in range(3):
            writer.add(dict(id=f"case {number}", landmarks=[[1.5, 2.5]]), ".png", bytes([number]) * 30)
        return writer.finish(None)


def checkpoints(folder):
    for number in (1, 2):
        (folder / f"epoch_{number}.pth").write_bytes(bytes([number]))
    note_latest(folder / "epoch_2.pth")


def best(folder):
    for name in ("best_mre_epoch_2.pth", "best_mre_epoch_3.pth"):
        (folder / name).write_bytes(b"x")
    note_best(folder, dict(mre=Best("best_mre_epoch_2.pth", 2.5, 2)))


def run_note(folder):
    (folder / "epoch_1.pth").write_bytes(b"x")
    RunFolder(folder, "abc", "mine").finish_training(dict(mre=2.5, sdr_2mm=81.25))


def cases(folder):
    row = dict(
        sample_id="a", pred=[[1.5, 2.5]], gt=[[1.0, 2.0]], errors=[0.5], spacing=None, ori_shape=[9, 9]
    )
    write_state(folder / "predictions.json", dict(tested="x", landmark_names=["p"], cases=[row]), indent=None)


# File -> how it is written into a folder, and what is read of it.
KINDS = {
    "run.json": (run_note, lambda path: RunFolder(path.parent, "abc").read()),
    "last_checkpoint.json": (
        checkpoints,
        lambda path: (latest_checkpoint(path.parent), read_json(path)),
    ),
    "best.json": (best, lambda path: (best_checkpoint(path.parent), read_json(path))),
    "test.json": (lambda folder: write_state(folder / "test.json", dict(test="test_last")), name_of_test),
    "config.json": (
        lambda folder: write_config(folder, config_to_data(tiny_config("unused"))),
        lambda path: read_config_of_run(path.parent),
    ),
    "epoch_4.json": (lambda folder: labels().write(folder / "epoch_4.json", ["a", "b", "c"]), read_labels),
    "rounds.json": (
        lambda folder: write_state(folder / "rounds.json", dict(rounds=[dict(epoch=1, masked=3)])),
        read_rounds,
    ),
    NOTE: (
        lambda folder: write_state(folder / NOTE, dict(shared_backbone=True, left_out=["x"], files={})),
        lambda path: _note(path.parent),
    ),
    PLAN: (
        lambda folder: (folder / PLAN).write_text(with_checksum(dict(answers=dict(minutes=5.5)), indent=2)),
        lambda path: read_plan(path.parent),
    ),
    "index.json": (packed, lambda path: ShardIndex.read(str(path))),
    "shapes.json": (lambda folder: shapes(folder / "shapes.json"), PointDistributionModel.load),
    "report.json": (
        lambda folder: report(folder / "report.json"),
        lambda path: read_state(path, "test again"),
    ),
    "predictions.json": (cases, TestedCases.read),
    SUMMARY: (
        lambda folder: write_state(folder / SUMMARY, dict(formats=["json", "csv"], images=3)),
        lambda path: (_earlier_formats(path), read_json(path)),
    ),
    WRITTEN: (
        lambda folder: write_state(folder / WRITTEN, dict(files={"predictions.csv": "0" * 64}, whole=True)),
        lambda path: vars(WrittenFiles(path.parent)),
    ),
}


def text_of(found):
    """Return what was read as something to compare: NaN equals NaN."""
    return repr(vars(found)) if hasattr(found, "__dict__") else repr(found)


def said(read, path):
    """Return what is read of a file, or else the error, which names the file and says what to do."""
    try:
        return text_of(read(path)), ""
    except ValueError as error:
        message = str(error)
        assert path.name in message, message
        assert "\n" not in message
        return "", message


@pytest.mark.parametrize("name", KINDS)
def test_no_flipped_bit_passes_in_silence(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path)
    path, rng, refused = tmp_path / name, random.Random(0), 0
    whole, expected = path.read_bytes(), text_of(read(path))
    for _ in range(FLIPS):
        data, where = bytearray(whole), rng.randrange(8 * len(whole))
        data[where // 8] ^= 1 << where % 8
        path.write_bytes(data)
        found, message = said(read, path)
        assert found in ("", expected), f"bit {where} changed what is read"
        refused += bool(message)
    assert refused >= 0.9 * FLIPS


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_was_cut_or_is_none_is_refused(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    parts = [whole[: len(whole) * part // 10] for part in range(10)]
    for data in (*parts, b"[]", b"7", b"\0" * 64, b"\xff"):
        path.write_bytes(data)
        message = said(read, path)[1]
        assert message
        assert "restore" in message or "pack-data --shards writes one" in message or not data


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"config.json", "report.json", SUMMARY, PLAN}))
def test_a_file_of_something_else_is_refused(tmp_path, name):
    """A config and a report may hold anything; answers of a plan are compared with those of the command."""
    write, read = KINDS[name]
    write(tmp_path)
    path = tmp_path / name
    for text in (with_checksum(dict(of="another program"), indent=2), '{"a": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=name if name != "run.json" else "holds a run with other values"):
            read(path)


@pytest.mark.parametrize("name", KINDS)
def test_files_of_earlier_versions_are_taken(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path)
    path = tmp_path / name
    expected, content = text_of(read(path)), json.loads(path.read_text())
    assert list(content)[-1] == KEY
    del content[KEY]
    path.write_text(json.dumps(content, indent=2))
    assert text_of(read(path)) == expected


# ---- predictions ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Predict three images in two shards, and from files; return the detector and both folders."""
    root, rng = tmp_path_factory.mktemp("predicted"), np.random.default_rng(0)
    (root / "films").mkdir()
    with ShardWriter(root / "shards", 10**6) as writer:
        for number in range(3):
            path = root / "films" / f"{number}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (40, 32), np.uint8))
            writer.add(dict(id=path.stem, landmarks=None, split=f"s{number // 2}"), ".png", path.read_bytes())
        index = writer.finish(None)
    inferencer = LandmarkInferencer(tiny_model(), "cpu", batch_size=3)
    predict_shards(inferencer, str(index), root / "by_shards")
    predict_to_folder(inferencer, root / "films", root / "by_files")
    return inferencer, root


def points(predictions):
    return [(one.sample_id, one.points.tolist(), one.scores.tolist()) for one in predictions]


def flipped(path, read, flips=FLIPS):
    """Read a file with flipped bits, and put it back; return how often it was refused."""
    whole, rng, expected, refused = path.read_bytes(), random.Random(0), read(), 0
    for _ in range(flips):
        data, where = bytearray(whole), rng.randrange(8 * len(whole))
        data[where // 8] ^= 1 << where % 8
        path.write_bytes(data)
        found, message = said(lambda _: read(), path)
        assert found in ("", text_of(expected)), f"bit {where} changed what is read"
        refused += bool(message)
    path.write_bytes(whole)
    return refused


@pytest.mark.parametrize("name", ["shards.json", "shard-000000.done.json", "shard-000000.predictions.json"])
def test_no_flipped_bit_of_predicted_shards_passes_in_silence(predicted, name):
    folder = predicted[1] / "by_shards"

    def read():
        return points(joined_predictions(folder)[1])

    assert flipped(folder / name, read, 40) >= 36


def test_no_flipped_bit_of_a_journal_passes_in_silence(predicted):
    inferencer, root = predicted
    path = root / "by_files" / JOURNAL
    lost = []

    def read():
        whole = path.read_bytes()
        journal = Journal(path.parent, inferencer.identity, inferencer.options, inferencer.schema)
        if len(path.read_bytes()) < len(whole):  # the end of the last line: what a kill leaves
            lost.append(len(journal))
            return expected
        return points(journal.predictions())

    expected: list = []
    expected += read()
    assert len(expected) == 3
    assert flipped(path, read) >= 0.9 * FLIPS
    assert set(lost) <= {0}


def test_a_journal_of_an_earlier_version_goes_on(predicted):
    inferencer, root = predicted
    path = root / "by_files" / JOURNAL
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(list(line)[-1] == KEY for line in lines)
    plain = [{key: value for key, value in line.items() if key != KEY} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in plain))
    outcome = predict_to_folder(inferencer, root / "films", root / "by_files")
    assert (outcome.before, outcome.total) == (3, 3)


# ---- who writes what --------------------------------------------------------------------------------------


def test_json_without_a_checksum_is_for_people_or_other_programs():
    writers = set()
    for path in sorted((ROOT / "mmlandmark").rglob("*.py")):
        name = path.relative_to(ROOT / "mmlandmark").as_posix()
        if re.search(r"(?<!def )\batomic_write_json\(", path.read_text(encoding="utf-8")):
            writers.add(name)
    assert {name for name in writers if not name.startswith(("testing/", "cli/benchmark"))} == set(WITHOUT)


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize("method", ["self-training", "cross-validation", "model per landmark"])
def test_all_that_a_training_goes_on_from_has_a_checksum(tmp_path, method):
    (tmp_path / "site").mkdir()
    with quick():
        undisturbed(METHODS[method].prepare(tmp_path / "site"), tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*.json") if not _LOG.search(str(path))]
    names = {path.name for path in files}
    assert {"run.json", "last_checkpoint.json", "config.json"} <= names
    assert names & {"epoch_1.json", "predictions.json", NOTE}
    for path in files:
        assert list(json.loads(path.read_text()))[-1] == KEY, path
        read_json(path)
