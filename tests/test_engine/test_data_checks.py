"""What is checked before the first batch: names, what there is to learn and compare, places, leaks, units."""

import itertools
import logging
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmlandmark.apis import build_ensemble, test_config, train_config
from mmlandmark.datasets import PhantomDataset
from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.data_checks import check_checkpoint, check_data
from mmlandmark.evaluation import LandmarkMetric, MeasureMetric
from mmlandmark.registry import MODELS
from mmlandmark.structures import only_numbered
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint

test_config.__test__ = False
PLACES = [[8, 9], [20, 11], [15, 30]]
FOUND = dict(max_examples=25, deadline=None, derandomize=True)
SHARED = [HealthCheck.function_scoped_fixture]  # every example writes its own folder
number = itertools.count()


class Kept(logging.Handler):
    """Keep what is logged."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelno, record.getMessage()))

    @property
    def warnings(self):
        return [line for level, line in self.lines if level >= logging.WARNING]


def run_on(train=None, val=None, test=None, unit="px", batch_size=2, drop_last=False, landmarks=None, **cfg):
    """Return what the checks need of a runner, and its log."""
    logger, kept = logging.Logger("run"), Kept()
    logger.addHandler(kept)
    loaders = {
        f"_{name}_dataloader": data
        and DataLoader(data, batch_size, collate_fn=list, drop_last=drop_last and name == "train")
        for name, data in dict(train=train, val=val, test=test).items()
    }
    metric = LandmarkMetric(unit=unit)
    count = landmarks or next(d for d in (train, val, test) if d is not None).metainfo["num_landmarks"]
    runner = SimpleNamespace(
        cfg=Config(cfg),
        logger=logger,
        seed=0,
        hooks=(),
        model=SimpleNamespace(head=SimpleNamespace(num_landmarks=count, num_annotators=1)),
        _val_evaluator=metric,
        _test_evaluator=metric,
        **loaders,
    )
    return runner, kept


def refused(runner, doing="train"):
    """Return what the checks say against a run, None if nothing."""
    try:
        check_data(runner, doing)
    except ValueError as error:
        return str(error)
    return None


# ---- names ----------------------------------------------------------------------------------------------

some_names = st.one_of(
    st.permutations(list("abc")),
    st.lists(st.sampled_from(list("abcd")), min_size=1, max_size=3, unique=True),
    st.just(["a", "b", "x"]),
    st.none(),
)


@settings(**FOUND, suppress_health_check=SHARED)
@given(train=some_names, other=some_names, split=st.sampled_from(["val", "test", "checkpoint"]))
def test_landmarks_match_by_name_or_the_run_is_refused(write_samples, train, other, split):
    def data(names, part):
        count = len(names or "abc")
        return write_samples([dict(landmarks=PLACES[:count])] * 2, names, f"{part}{next(number)}")

    ours, theirs = data(train, "train"), data(other, "test")
    names, others = ours.metainfo["landmark_names"], theirs.metainfo["landmark_names"]
    one_is_numbered = only_numbered(names) != only_numbered(others)
    fits = names == others or (one_is_numbered and len(names) == len(others))
    if split == "checkpoint":
        runner, _ = run_on(ours)
        checkpoint = dict(meta=dict(dataset_meta=theirs.metainfo))
        try:
            check_checkpoint(runner, checkpoint, "x.pth")
            message = None
        except ValueError as error:
            message = str(error)
    else:
        message = refused(run_on(ours, **{split: theirs})[0])
    assert (message is None) == fits, message
    if not fits and len(names) == len(others) and sorted(names) == sorted(others):
        assert "in another order" in message
        assert str(sorted(names)[:1])[1:-1] in message


def test_a_checkpoint_is_matched_by_name_wherever_it_is_loaded(tmp_path):
    config = tiny_config(tmp_path / "run", max_epochs=1)
    train_config(config)
    file = tmp_path / "run" / "epoch_1.pth"
    names = load_checkpoint(file)["meta"]["dataset_meta"]["landmark_names"]
    turned = tiny_config(tmp_path / "turned", max_epochs=2)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        turned[key].dataset.landmarks = names[::-1]
    message = rf"in another order: landmark 0 is '{names[0]}' there and '{names[-1]}' here.*landmarks=\['"
    with pytest.raises(ValueError, match=message):
        test_config(turned, file)
    for start in ("load_from", "resume"):
        with pytest.raises(ValueError, match=message):
            LandmarkRunner.from_cfg(
                Config({**turned, "load_from": str(file), "resume": start == "resume"})
            ).train()
    turned.load_from, turned.load_strict = str(file), False  # on purpose: other landmarks, the same network
    train_config(turned)
    assert (tmp_path / "turned" / "epoch_2.pth").exists()
    with pytest.raises(ValueError, match="detect different landmarks: the same landmarks in another order"):
        build_ensemble([tmp_path / "run", tmp_path / "turned"], tmp_path / "both")
    build_ensemble([tmp_path / "run"], tmp_path / "one")
    whole = load_checkpoint(tmp_path / "one" / "ensemble.pth")
    assert whole["meta"]["dataset_meta"]["landmark_names"] == names


# ---- something to learn, something to compare --------------------------------------------------------------


@settings(**FOUND, suppress_health_check=SHARED)
@given(data=st.data(), size=st.integers(1, 5), batch=st.integers(1, 6), drop_last=st.booleans())
def test_a_run_begins_only_where_something_can_be_learnt(write_samples, data, size, batch, drop_last):
    kinds = ["point", "point", "none", "no weight", "absent", "outside"]
    drawn = [[data.draw(st.sampled_from(kinds)) for _ in PLACES] for _ in range(size)]
    samples = [
        dict(
            landmarks=[
                None if kind == "none" else [n + 33, 5] if kind == "outside" else [x + n, y]
                for kind, (x, y) in zip(row, PLACES, strict=True)
            ],
            visibility=[{"none": 0, "absent": -1}.get(kind, 1) for kind in row],
            weights=[float(kind != "no weight") for kind in row],
        )
        for n, row in enumerate(drawn)
    ]
    train = write_samples(samples, "abc", f"train{next(number)}")
    val = write_samples([dict(landmarks=PLACES)] * 2, "abc", f"val{next(number)}")
    runner, log = run_on(train, val, batch_size=batch, drop_last=drop_last)
    message = refused(runner)
    learns = [any(row[k] == "point" for row in drawn) for k in range(3)]
    if drop_last and size < batch:
        assert "train_dataloader gives no batch" in message
    elif not any(learns):
        assert "train: nothing can be learnt" in message
    else:
        assert message is None
        told = [line for line in log.warnings if "so it is not learnt" in line]
        assert len(told) == (not all(learns))
        for line in told:
            assert [name for name in "abc" if f"'{name}'" in line] == [
                name for name, learnt in zip("abc", learns, strict=True) if not learnt
            ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_cannot_be_compared_is_told_before_the_run(write_samples, split):
    nothing = write_samples([dict(landmarks=[None, None, None])] * 3, "abc", "nothing")
    runner, _ = run_on(landmarks=3, **{split: nothing})
    assert f"{split}: none of 3 samples is annotated, so nothing can be compared" in refused(runner, split)
    part = write_samples([dict(landmarks=[PLACES[0], None, PLACES[2]])] * 3, "abc", "part")
    runner, log = run_on(landmarks=3, **{split: part})
    assert refused(runner, split) is None
    assert [w for w in log.warnings if "'b': annotated in no image, so it has no error" in w]


def test_no_annotation_is_needed_where_nothing_is_compared(write_samples):
    nothing = write_samples([dict(landmarks=[None])] * 2, "a", "nothing")
    runner, _ = run_on(test=nothing)
    runner._test_evaluator = []
    assert refused(runner, "test") is None


def test_an_empty_validation_is_told_before_training(write_samples):
    data = write_samples([dict(landmarks=PLACES)] * 2, "abc", "train")
    runner, _ = run_on(data, write_samples([dict(landmarks=PLACES)], "abc", "val"))
    runner._val_dataloader = DataLoader(runner._val_dataloader.dataset, 4, drop_last=True, collate_fn=list)
    assert "val_dataloader gives no batch: 1 samples are fewer than batch_size=4" in refused(runner)


def test_several_annotators_count_without_a_consensus(write_samples):
    # The mean of two annotators is missing where one of them marked nothing; a head of two learns the other.
    data = PhantomDataset("ceph", 2, size=(32, 32), num_annotators=2)
    data._fully_initialized = True
    records = [data.get_data_info(n) for n in range(2)]
    for record in records:
        record.pop("img")
        record["landmarks"][:] = np.nan
        record["by_annotator"][0] = np.nan
    data.serialize_data, data.data_list = False, records
    runner, _ = run_on(data)
    assert "no landmark is annotated" in refused(runner)
    runner.model.head.num_annotators = 2
    assert refused(runner) is None


# ---- places ---------------------------------------------------------------------------------------------


def test_a_landmark_outside_its_image_is_found_before_it_is_loaded(write_samples):
    near = write_samples([dict(landmarks=[[8, 9]]), dict(landmarks=[[34, 9]])], "a", "near")
    runner, log = run_on(near)
    assert refused(runner) is None
    assert any(
        "sample 'near_1'" in line and "outside the image of size [32, 40]" in line for line in log.warnings
    )
    far = write_samples([dict(landmarks=[[8, 9]]), dict(landmarks=[[600, 9]])], "a", "far")
    message = refused(run_on(far)[0])
    for words in ("train: ", "sample 'far_1'", "far outside the image"):
        assert words in message


def test_a_broken_image_is_found_before_the_first_batch(write_samples, tmp_path):
    data = write_samples([dict(landmarks=[[8, 9]])] * 2, "a", "train")
    (tmp_path / "train" / "train_1.png").write_bytes(b"no picture")
    assert "train_1.png" in refused(run_on(data)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pixels_that_are_not_finite_stop_the_run(write_samples, tmp_path, split, value):
    fine = write_samples([dict(landmarks=[[8, 9]])] * 2, "a", "fine")
    (tmp_path / "broken").mkdir()
    for n in range(2):
        pixels = np.random.default_rng(n).random((40, 32), dtype=np.float32)
        pixels[3, 4] = value if n else 0.5
        np.save(tmp_path / "broken" / f"{n}.npy", pixels)
    broken = write_samples([dict(landmarks=[[8, 9]], image=f"{n}.npy") for n in range(2)], "a", "broken")
    parts = dict(train=fine, val=fine) | {split: broken}
    message = refused(run_on(**parts, allow_leaks=True)[0])
    for words in (f"{split}: sample '1'", "1.npy", "finite"):
        assert words in message


@pytest.mark.parametrize(
    ("place", "words"),
    [((0, 0), "a corner of the image"), ((-1, -1), "a corner of the image"), ((31, 39), "corner")],
)
def test_training_tells_of_placeholders(write_samples, place, words):
    rng = np.random.default_rng(0)
    samples = [dict(landmarks=(rng.uniform(10, 25, (2, 2))).tolist()) for _ in range(6)]
    samples[3]["landmarks"][1] = list(place)
    runner, log = run_on(write_samples(samples, "ab", "train"))
    assert refused(runner) is None
    (line,) = [line for line in log.warnings if words in line]
    assert line.startswith("train: sample 'train_3': landmark 1 (b)")


def test_a_warning_of_pixels_says_what_to_do(write_samples, tmp_path):
    data = write_samples([dict(landmarks=PLACES)] * 2, None, "train")
    for path in tmp_path.rglob("*.png"):
        array = np.random.default_rng(0).integers(0, 4096, (40, 32)).astype(np.uint16)
        assert cv2.imwrite(str(path), array)
    runner, log = run_on(data)
    assert refused(runner) is None
    (line,) = log.warnings
    assert line.startswith("train: sample 'train_0': its values go from ")
    assert "1/16 of the range is used; set LoadImage(bits=12)" in line
    assert line.endswith("(and 1 more: mmlandmark check)")


@pytest.mark.parametrize("dims", [2, 3])
def test_volumes_need_a_network_for_volumes(dims):
    data = PhantomDataset("spine", num_samples=2)  # 2D
    runner, _ = run_on(data)
    unet = dict(type="UNet", dims=dims, in_channels=1, widths=(2, 4))
    runner.model.backbone = MODELS.build(unet)
    message = refused(runner)
    if dims == 2:
        assert message is None
    else:
        assert "train_dataloader: landmarks are 2D, the network has layers of Conv3d" in message
        assert "take dims out of the model's config" in message


def test_training_tells_of_fractions(write_samples):
    rng = np.random.default_rng(0)
    samples = [dict(landmarks=rng.uniform(0.2, 0.8, (2, 2)).tolist()) for _ in range(4)]
    runner, log = run_on(write_samples(samples, "ab", "train"))
    assert refused(runner) is None
    assert any("all 4 samples lie between 0 and 1" in line for line in log.warnings)


# ---- leaks ----------------------------------------------------------------------------------------------


def test_a_leak_stops_training_unless_it_is_allowed(write_samples, tmp_path):
    train = write_samples([dict(landmarks=PLACES, group="p1")] + [dict(landmarks=PLACES)] * 2, "abc", "train")
    test = write_samples([dict(landmarks=PLACES)] * 2, "abc", "test")
    assert refused(run_on(train, test=test)[0]) is None
    shutil.copy(tmp_path / "train" / "train_1.png", tmp_path / "test" / "test_0.png")
    for split in ("val", "test"):
        message = refused(run_on(train, **{split: test})[0])
        for words in ("first 'train_1'", "the same image", "allow_leaks = True"):
            assert words in message
    assert refused(run_on(train, test=test, allow_leaks=True)[0]) is None
    assert refused(run_on(test=test)[0], "test") is None  # a test has no training to leak from
    patient = write_samples([dict(landmarks=PLACES, group="p1")], "abc", "patient")
    assert "group 'p1'" in refused(run_on(train, patient)[0])


def test_a_copy_in_another_format_is_a_leak(write_samples, tmp_path):
    train = write_samples([dict(landmarks=PLACES)] * 3, "abc", "train")
    test = write_samples([dict(landmarks=PLACES)] * 2, "abc", "test")
    for n in range(3):
        cv2.imwrite(str(tmp_path / "train" / f"train_{n}.png"), render_phantom("ceph", 0, n, (200, 160))[0])
    cv2.imwrite(str(tmp_path / "test" / "test_0.png"), render_phantom("ceph", 0, 9, (200, 160))[0])
    assert refused(run_on(train, test=test)[0]) is None
    picture = cv2.imread(str(tmp_path / "train" / "train_2.png"))
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    (tmp_path / "test" / "test_1.png").write_bytes(jpeg.tobytes())
    message = refused(run_on(train, test=test)[0])
    assert "first 'train_2': a copy of the same picture" in message


def test_equal_ids_of_different_images_are_a_warning_only(write_samples):
    one = write_samples([dict(landmarks=PLACES, id="001")], "abc", "train")
    two = write_samples([dict(landmarks=PLACES, id="001")], "abc", "test")
    runner, log = run_on(one, test=two)
    assert refused(runner) is None
    assert any("have the id of another image" in line for line in log.warnings)
    phantoms = PhantomDataset("ceph", 2, size=(32, 32))  # without files the id is all there is
    assert "sample 'ceph_0_000000'" in refused(run_on(phantoms, phantoms)[0])


# ---- units ----------------------------------------------------------------------------------------------


def test_a_unit_that_cannot_be_had_stops_the_run_before_the_first_batch(write_samples):
    train = write_samples([dict(landmarks=PLACES)] * 2, "abc", "train")
    val = write_samples([dict(landmarks=PLACES, spacing=[0.1, 0.1]), dict(landmarks=PLACES)], "abc", "val")
    runner, _ = run_on(train, val, unit="mm")
    assert "val_1: no spacing, so no millimetres" in refused(runner)
    runner._val_evaluator = LandmarkMetric(unit="mm", reference=dict(pair=(0, 1), mm=50))
    assert refused(runner) is None
    runner._val_evaluator = LandmarkMetric(unit="mm", reference=dict(pair=(0, 7), mm=50))
    assert "must be two different landmarks of 0..2" in refused(runner)
    known = write_samples([dict(landmarks=PLACES)] * 2, "abc", "known", spacing=0.1)
    assert refused(run_on(train, known, unit="mm")[0]) is None


def test_a_case_without_its_reference_pair_is_told_before_the_first_batch(write_samples):
    val = write_samples([dict(landmarks=PLACES), dict(landmarks=[None, *PLACES[1:]])], "abc", "val")
    runner, _ = run_on(val=val)
    runner._val_evaluator = LandmarkMetric(unit="mm", reference=dict(pair=(0, 1), mm=50))
    assert "val_1: reference landmarks 0 and 1 are missing" in refused(runner, "val")


def test_measures_that_nobody_can_compute_are_told_before_the_first_batch(write_samples):
    val = write_samples([dict(landmarks=PLACES)] * 2, "abc", "val")
    runner, _ = run_on(val=val)
    runner._val_evaluator = MeasureMetric()
    assert "has no measures" in refused(runner, "val")
    own = dict(name="m", kind="distance", points=["a", "b"])
    runner._val_evaluator = MeasureMetric(measures=[own])
    assert refused(runner, "val") is None
    runner._val_evaluator = MeasureMetric(measures=[own], published="lengths")
    assert "val_0: no 'lengths'" in refused(runner, "val")


def test_spacing_that_only_the_pipeline_knows_is_enough(write_samples):
    val = write_samples([dict(landmarks=PLACES)] * 2, "abc", "val")
    val.pipeline.transforms.insert(1, lambda results: dict(results, spacing=(0.1, 0.1)))
    assert refused(run_on(val=val, unit="mm")[0], "val") is None


# ---- the runner calls them ------------------------------------------------------------------------------


def test_a_run_is_refused_before_its_first_batch(tmp_path, monkeypatch):
    config = tiny_config(
        tmp_path, val_dataloader=phantom_dataloader(train=False, offset=0)
    )  # the training's patients
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: pytest.fail("a batch was trained on"))
    with pytest.raises(ValueError, match="also in the validation or test data"):
        train_config(config)
    assert not list(tmp_path.glob("*.pth"))


def test_landmarks_of_a_hostile_checkpoint_are_plain_data(tmp_path, write_samples):
    save_checkpoint(dict(state_dict={}, meta=dict(dataset_meta="__import__('os')")), tmp_path / "x.pth")
    runner, _ = run_on(write_samples([dict(landmarks=PLACES)], "abc", "train"))
    check_checkpoint(runner, load_checkpoint(tmp_path / "x.pth"), "x.pth")
