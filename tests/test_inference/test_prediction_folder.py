"""A folder of predictions: it goes on, adds up, and holds the results of one model."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from zlib import crc32

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose

from image_writers import write_dicom
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.releases import CocoKeypoints, CvatImages, SlicerMarkups
from mmlandmark.engine import RunLock
from mmlandmark.evaluation import Calibration, TestedCases
from mmlandmark.inference import Failure, LandmarkInferencer, predict_to_folder
from mmlandmark.inference.journal import JournalError
from mmlandmark.inference.writers import output_path, write_predictions
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import Prediction
from mmlandmark.testing import tiny_model
from mmlandmark.utils.result_folders import JOURNAL


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def films(tmp_path):
    """Write 5 images of noise."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(5):
        image = np.random.default_rng(number).integers(0, 255, (40, 30 + number), np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


class Counted(LandmarkInferencer):
    """Notes which images the network saw."""

    def batches(self, cases):
        self.seen = [case.sample_id for case in cases]
        return super().batches(cases)


def ids(out) -> list[str]:
    return [sample["id"] for sample in json.loads((out / "predictions.json").read_text())["samples"]]


def test_a_data_set_reads_the_result(films, model, tmp_path):
    outcome = predict_to_folder(LandmarkInferencer(model, "cpu"), films, tmp_path / "out")
    assert (outcome.asked, outcome.before, outcome.total, outcome.failures) == (5, 0, 5, [])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images"] == 5
    data = LandmarkDataset(
        str(tmp_path / "out" / "predictions.json"), summary["image_dir"], serialize_data=False
    )
    predicted = LandmarkInferencer(model, "cpu")(films)
    for index, one in enumerate(predicted):
        record = data.get_data_info(index)
        assert record["sample_id"] == one.sample_id
        np.testing.assert_allclose(record["landmarks"], one.points, atol=1e-4)
        assert os.path.samefile(record["img_path"], one.image)


@pytest.mark.parametrize("format", ["json", "csv", "coco", "cvat"])
def test_files_of_one_stem_and_of_no_suffix_are_read_again(films, model, tmp_path, format):
    image = cv2.imread(str(films / "0.png"), cv2.IMREAD_UNCHANGED)
    for name in ("0.jpg", "0.png.png", " x .png", "more/0.png"):
        (films / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(films / name), image)
    for name in ("1.2.840.7", "1.2.840.8"):  # as DICOM files are called
        write_dicom(films / name, image, (0.2, 0.3), 8)
    out = tmp_path / "out"
    outcome = predict_to_folder(LandmarkInferencer(model, "cpu"), films, out, formats=["json", format])
    assert (outcome.total, outcome.failures) == (11, [])
    kinds = dict(coco=CocoKeypoints, cvat=CvatImages)
    data = kinds.get(format, LandmarkDataset)(str(output_path(out, format)), str(films), serialize_data=False)
    records = [data.get_data_info(index) for index in range(len(data))]
    written = json.loads((out / "predictions.json").read_text())["samples"]
    assert [str(films / sample["image"]) for sample in written] == [
        os.path.normpath(record["img_path"]) for record in records
    ]
    if format == "cvat":  # which has no ids
        assert len({record["sample_id"] for record in records}) == 11
    else:
        assert [record["sample_id"] for record in records] == ids(out)


def test_it_goes_on_and_adds_up(films, model, tmp_path):
    out, inferencer = tmp_path / "out", Counted(model, "cpu")
    predict_to_folder(inferencer, [films / "1.png", films / "3.png"], out)
    begun = []
    outcome = predict_to_folder(inferencer, films, out, begin=lambda *numbers: begun.append(numbers))
    assert begun == [(5, 2)]
    assert inferencer.seen == ["0", "2", "4"]
    assert (outcome.before, outcome.total) == (2, 5)
    assert ids(out) == ["1", "3", "0", "2", "4"], "those that came first stay first"
    predict_to_folder(inferencer, films, out)
    assert inferencer.seen == []
    other = tmp_path / "other" / "1.png"
    other.parent.mkdir()
    other.write_bytes((films / "2.png").read_bytes())
    outcome = predict_to_folder(inferencer, other, out)
    assert ids(out) == ["1", "3", "0", "2", "4", "1.png"], "a name that is taken stays with its image"
    assert (outcome.asked, outcome.total) == (1, 6)


def test_a_folder_that_was_renamed_is_not_predicted_again(films, model, tmp_path):
    out, inferencer = tmp_path / "out", Counted(model, "cpu")
    predict_to_folder(inferencer, films, out, overlays=True)
    before = json.loads((out / "predictions.json").read_text())
    films.rename(tmp_path / "mounted")
    outcome = predict_to_folder(inferencer, tmp_path / "mounted", out, overlays=True)
    assert inferencer.seen == []
    assert (outcome.before, outcome.total) == (5, 5)
    assert json.loads((out / "predictions.json").read_text()) == before
    assert json.loads((out / "summary.json").read_text())["image_dir"] == str(tmp_path / "mounted")
    assert {path.stem for path in (out / "overlays").iterdir()} == set("01234")


def test_formats_of_earlier_calls_list_the_same_images(films, model, tmp_path):
    out, inferencer = tmp_path / "out", LandmarkInferencer(model, "cpu")
    predict_to_folder(inferencer, films / "0.png", out, formats=["csv"])
    assert not (out / "predictions.json").exists()
    outcome = predict_to_folder(inferencer, films, out, formats=["json"])
    assert [path.name for path in outcome.files] == ["predictions.csv", "predictions.json", "summary.json"]
    assert len((out / "predictions.csv").read_text().splitlines()) == 1 + 5


def test_a_broken_file_is_reported_and_tried_again(films, model, tmp_path):
    out, inferencer = tmp_path / "out", Counted(model, "cpu")
    good = (films / "2.png").read_bytes()
    (films / "2.png").write_bytes(good[:40])
    seen = []
    outcome = predict_to_folder(inferencer, films, out, advance=seen.extend)
    (failure,) = outcome.failures
    assert (failure.sample_id, failure.image) == ("2", str(films / "2.png"))
    assert [isinstance(one, Failure) for one in seen] == [False, False, True, False, False]
    assert ids(out) == ["0", "1", "3", "4"]
    assert json.loads((out / "summary.json").read_text())["failures"] == [vars(failure)]
    (films / "2.png").write_bytes(good)
    assert predict_to_folder(inferencer, films, out).failures == []
    assert inferencer.seen == ["2"]
    assert ids(out) == ["0", "1", "3", "4", "2"]
    (films / "0.png").write_bytes(b"it was good and is broken now")
    predict_to_folder(inferencer, films, out)
    assert ids(out) == ["1", "3", "4", "2"], "what was predicted of other pixels is not kept"


def test_overlays_are_drawn_and_made_up_for(films, model, tmp_path):
    out, inferencer = tmp_path / "out", Counted(model, "cpu")
    predict_to_folder(inferencer, films / "0.png", out)
    assert not (out / "overlays").exists()
    predict_to_folder(inferencer, films, out, overlays=True)
    assert inferencer.seen == ["1", "2", "3", "4"]
    assert sorted(path.name for path in (out / "overlays").iterdir()) == [f"{n}.png" for n in range(5)]
    (films / "4.png").unlink()
    (out / "overlays" / "4.png").unlink()
    outcome = predict_to_folder(inferencer, films, out, overlays=True)
    assert [failure.reason.split(":")[0] for failure in outcome.failures] == [
        "it is predicted, but not drawn"
    ]
    assert ids(out)[-1] == "4", "the prediction is kept"


def everything(out) -> dict[str, bytes]:
    """Return all files of a folder but the journal, which also lists what was tried again."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != JOURNAL
    }


class ByBatch(LandmarkInferencer):
    """Images keep their sizes, and a score says which images the network saw together."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        steps = [dict(type="LoadImage", channels=1), dict(type="PackInputs")]
        self.transforms = Compose([TRANSFORMS.build(step) for step in steps])

    def _predict(self, batch, cases):
        seen = [cases[one.index] for one in batch]
        score = crc32(" ".join(case.sample_id for case in seen).encode()) / 2**32
        count = len(self.schema)
        return {
            one.index: Prediction(
                case.sample_id, case.image, one.sample.ori_shape, self.schema, np.ones((count, 2)),
                np.full(count, score),
            )
            for one, case in zip(batch, seen, strict=True)
        }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_wherever_a_kill_cuts_the_journal_the_results_are_the_same(model, tmp_path, workers):
    films = tmp_path / "films"
    films.mkdir()
    rng = np.random.default_rng(0)
    for number in range(26):
        size = (40, 30 + rng.integers(0, 3)) if number < 20 else (40, 40)
        assert cv2.imwrite(str(films / f"{number:02d}.png"), np.zeros(size, np.uint8))
    for number in (0, 5, 9, 22):
        (films / f"{number:02d}.png").write_bytes(b"broken")
    inferencer = ByBatch(model, "cpu", batch_size=3, num_workers=workers)
    predict_to_folder(inferencer, films, tmp_path / "whole")
    whole = everything(tmp_path / "whole")
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 26
    for count in range(1, len(lines), 1 if workers == 0 else 11):
        out = tmp_path / f"cut_{count}"
        out.mkdir()
        (out / JOURNAL).write_bytes(b"".join(lines[:count]) + lines[count][:20])
        predict_to_folder(inferencer, films, out)
        assert everything(out) == whole, count


def test_a_batch_of_which_a_part_is_on_the_disk_is_predicted_as_a_whole(films, model, tmp_path):
    """With the network: its last digits may depend on how many images it sees at once."""
    inferencer = Counted(model, "cpu", batch_size=4)
    predict_to_folder(inferencer, films, tmp_path / "whole", overlays=True)
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    for count, seen in ((3, "01234"), (4, "01234"), (5, "4")):
        out = tmp_path / f"cut_{count}"
        out.mkdir()
        (out / JOURNAL).write_bytes(b"".join(lines[:count]))
        predict_to_folder(inferencer, films, out, overlays=True)
        assert inferencer.seen == list(seen)
        assert everything(out) == everything(tmp_path / "whole")
        assert (out / JOURNAL).read_bytes() == b"".join(lines)


def test_what_failed_before_waits_for_the_others(films, model, tmp_path):
    """So that a retry does not take a place in the batch of another image."""
    inferencer = Counted(model, "cpu")
    (films / "0.png").write_bytes(b"broken")
    predict_to_folder(inferencer, [films / "0.png", films / "1.png"], tmp_path / "out")
    outcome = predict_to_folder(inferencer, films, tmp_path / "out")
    assert inferencer.seen == ["2", "3", "4", "0"]
    assert [failure.sample_id for failure in outcome.failures] == ["0"]


def markups(out) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in (out / "slicer").rglob("*") if path.is_file())


def test_overwriting_removes_what_was_made_of_images_that_are_gone(films, model, tmp_path):
    out = tmp_path / "out"
    two = [films / "0.png", films / "1.png"]
    predict_to_folder(LandmarkInferencer(model, "cpu"), two, out, formats=["slicer"], overlays=True)
    (out / "slicer" / "of_somebody_else.mrk.json").write_text("{}")
    assert markups(out) == ["slicer/0.mrk.json", "slicer/1.mrk.json", "slicer/of_somebody_else.mrk.json"]
    other = LandmarkInferencer(tiny_model(seed=1), "cpu")
    predict_to_folder(other, two[0], out, formats=["slicer"], overwrite=True)
    assert markups(out) == ["slicer/0.mrk.json", "slicer/of_somebody_else.mrk.json"]
    assert not list((out / "overlays").iterdir())


def test_a_picture_is_of_the_prediction_that_the_journal_holds(films, model, tmp_path, monkeypatch):
    out, inferencer = tmp_path / "out", LandmarkInferencer(model, "cpu")
    predict_to_folder(inferencer, films, out, formats=["slicer"], overlays=True)
    old = (out / "overlays" / "0.png").read_bytes()
    new = np.random.default_rng(9).integers(0, 255, (44, 33), np.uint8)
    assert cv2.imwrite(str(films / "0.png"), new)
    predict_to_folder(inferencer, films, out)
    assert not (out / "overlays" / "0.png").exists()
    assert (out / "overlays" / "1.png").exists()
    predict_to_folder(inferencer, films, out, overlays=True)
    assert (out / "overlays" / "0.png").read_bytes() != old

    (films / "1.png").write_bytes(b"broken")
    predict_to_folder(inferencer, films, out, overlays=True)
    assert not (out / "overlays" / "1.png").exists()
    assert "slicer/1.mrk.json" not in markups(out)

    old = (out / "overlays" / "2.png").read_bytes()
    assert cv2.imwrite(str(films / "2.png"), new)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmlandmark.inference.prediction_folder.draw_prediction", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_to_folder(inferencer, films, out, overlays=True)
    predict_to_folder(inferencer, films, out, overlays=True)
    assert (out / "overlays" / "2.png").read_bytes() != old


def test_pictures_and_markups_have_the_same_names(films, model, tmp_path):
    sub = films / "sub"
    sub.mkdir()
    for name in ("same.png", "same.jpg"):
        (sub / name).write_bytes((films / "0.png").read_bytes())
    out = tmp_path / "out"
    predict_to_folder(LandmarkInferencer(model, "cpu"), films, out, formats=["slicer"], overlays=True)
    pictures = {path.relative_to(out / "overlays").as_posix() for path in (out / "overlays").rglob("*.png")}
    assert {"0.png", "sub/same.png.png", "sub/same.jpg.png"} <= pictures
    assert {f"slicer/{name[:-4]}.mrk.json" for name in pictures} == set(markups(out))
    data = SlicerMarkups("slicer", str(out), image_dir=str(films))
    assert [os.path.basename(record["img_path"]) for record in data.load_records()][-2:] == [
        "same.jpg",
        "same.png",
    ]


def test_what_cannot_be_drawn_is_a_failure_once(films, model, tmp_path, monkeypatch):
    def drawn(prediction):
        if prediction.sample_id == "3":
            raise ValueError("no room")
        return np.zeros((9, 9, 3), np.uint8)

    monkeypatch.setattr("mmlandmark.inference.prediction_folder.draw_prediction", drawn)
    outcome = predict_to_folder(LandmarkInferencer(model, "cpu"), films, tmp_path / "out", overlays=True)
    assert [failure.reason for failure in outcome.failures] == ["it is predicted, but not drawn: no room"]
    assert outcome.total == 5


def test_results_inside_of_the_images_are_no_images(films, model):
    inferencer = Counted(model, "cpu")
    for out in (films / "out", films, films):
        outcome = predict_to_folder(inferencer, films, out, overlays=True)
        assert (outcome.asked, outcome.failures) == (5, [])


def test_another_model_or_other_options_need_a_word(films, model, tmp_path):
    out = tmp_path / "out"
    predict_to_folder(LandmarkInferencer(model, "cpu"), films, out, overlays=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = LandmarkInferencer(tiny_model(seed=1), "cpu")
    with pytest.raises(JournalError, match="holds predictions of another 'untrained', not of this one"):
        predict_to_folder(other, films, out)
    with pytest.raises(JournalError, match="was predicted with precision fp32 instead of bf16"):
        predict_to_folder(LandmarkInferencer(model, "cpu", precision="bf16"), films, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    outcome = predict_to_folder(other, films / "0.png", out, overwrite=True)
    assert outcome.total == 1
    assert ids(out) == ["0"]
    assert not list((out / "overlays").iterdir()), "pictures of the other model are gone"


def test_files_of_somebody_else_are_not_replaced(films, model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.csv").write_text("my own table\n")
    with pytest.raises(JournalError, match=r"predictions.csv exists and is not of a prediction"):
        predict_to_folder(LandmarkInferencer(model, "cpu"), films, out)
    assert (out / "predictions.csv").read_text() == "my own table\n"
    predict_to_folder(LandmarkInferencer(model, "cpu"), films, out, overwrite=True)
    assert len(ids(out)) == 5


def test_what_was_corrected_is_not_replaced(films, model, tmp_path):
    out, inferencer = tmp_path / "out", Counted(model, "cpu")
    formats = ["json", "slicer"]
    some = [films / "0.png", films / "1.png"]
    predict_to_folder(inferencer, some, out, formats=formats)
    mine, markup = out / "predictions.json", out / "slicer" / "0.mrk.json"
    as_predicted = mine.read_text(), markup.read_text()
    markup.write_text(as_predicted[1].replace("defined", "undefined"))
    mine.write_text(as_predicted[0].replace("1.png", "one.png"))
    inferencer.seen = None
    with pytest.raises(JournalError, match=r"predictions\.json is not what was predicted: move it out"):
        predict_to_folder(inferencer, films, out, formats=formats)
    assert inferencer.seen is None
    mine.rename(tmp_path / "corrected.json")
    predict_to_folder(inferencer, films, out, formats=formats)
    assert ids(out) == list("01234")
    assert markups(out) == [f"slicer/{name}.mrk.json" for name in "01234"]
    assert markup.read_text() == as_predicted[1].replace("defined", "undefined")

    assert cv2.imwrite(str(films / "0.png"), np.zeros((44, 33), np.uint8))
    predict_to_folder(inferencer, films, out)
    assert inferencer.seen == ["0"]
    assert markup.read_text() == as_predicted[1].replace("defined", "undefined")
    (out / "coco.json").write_text("of somebody else")
    with pytest.raises(JournalError, match=r"coco\.json is not what was predicted"):
        predict_to_folder(inferencer, films, out, formats=["coco"])
    predict_to_folder(inferencer, films, out, formats=["coco"], overwrite=True)
    assert "undefined" not in markup.read_text()
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 5


def test_a_kill_while_files_are_written_leaves_none_that_counts_as_corrected(
    films, model, tmp_path, monkeypatch
):
    out, inferencer = tmp_path / "out", LandmarkInferencer(model, "cpu")
    for folder in (out, tmp_path / "whole"):
        predict_to_folder(inferencer, films / "0.png", folder, formats=["csv", "json", "slicer"])
    predict_to_folder(inferencer, films, tmp_path / "whole")

    def killed(predictions, schema, path, name, image_dir):
        if name == "json":
            raise KeyboardInterrupt
        return write_predictions(predictions, schema, path, name, image_dir)

    with monkeypatch.context() as patch:
        patch.setattr("mmlandmark.inference.prediction_folder.write_predictions", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_to_folder(inferencer, films, out)
    predict_to_folder(inferencer, films, out)
    assert everything(out) == everything(tmp_path / "whole")


def test_two_calls_at_once_are_refused(films, model, tmp_path):
    with (
        RunLock(tmp_path / "out"),
        pytest.raises(JournalError, match=rf"out: another run .* {os.getpid()} .*another -o OUT \("),
    ):
        predict_to_folder(LandmarkInferencer(model, "cpu"), films, tmp_path / "out")


def test_what_cannot_begin_leaves_nothing(films, model, tmp_path):
    inferencer = LandmarkInferencer(model, "cpu")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        predict_to_folder(inferencer, "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="arrays have no file"):
        predict_to_folder(inferencer, np.zeros((9, 9), np.uint8), tmp_path / "out2")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        predict_to_folder(inferencer, films, tmp_path / "file" / "out")


def test_the_journal_is_written_batch_by_batch(films, model, tmp_path):
    """When the caller hears of results, they are on the disk."""
    lines = []
    inferencer = LandmarkInferencer(model, "cpu", batch_size=2)
    predict_to_folder(
        inferencer,
        films,
        tmp_path / "out",
        advance=lambda results: lines.append((tmp_path / "out" / JOURNAL).read_text().count("\n")),
    )
    assert lines == [1 + 2, 1 + 4, 1 + 5]


def test_radii_in_mm_of_unknown_pixels_are_counted(films, model, tmp_path):
    inferencer = LandmarkInferencer(model, "cpu", spacing=0.5)
    predicted = inferencer(films)
    truth = np.stack([one.points for one in predicted]) + 0.5
    # Doubt is learnt from large errors, which there are none of.
    calibration = replace(Calibration.fit(TestedCases.from_predictions(predicted, truth)), doubt=None)
    calibrated = replace(model, calibration=calibration.to_dict())
    unknown = predict_to_folder(LandmarkInferencer(calibrated, "cpu"), films, tmp_path / "unknown")
    known = predict_to_folder(LandmarkInferencer(calibrated, "cpu", spacing=0.5), films, tmp_path / "known")
    assert (unknown.unscaled, known.unscaled) == (5, 0)
