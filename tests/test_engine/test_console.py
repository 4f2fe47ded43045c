"""The terminal shows the gist of a run, the log file everything."""

import contextlib
import logging
import re

import pytest
from mmengine.logging import MMLogger

from full_disks import small_disk
from mmlandmark.apis import test_config, train_config
from mmlandmark.engine import LandmarkRunner, console, load_config
from mmlandmark.evaluation import LandmarkMetric
from mmlandmark.testing import phantom_dataloader, tiny_config

test_config.__test__ = False


def config_of(folder, epochs=4, **overrides):
    config = tiny_config(folder, max_epochs=epochs, log_level="INFO", **overrides)
    config.train_cfg.val_interval = 2
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    return config


def lines_of(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_a_training_is_told_in_a_few_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "QUIET_SECONDS", 1e9)
    config = config_of(tmp_path)
    config.train_dataloader.dataset.num_samples = 5
    train_config(config)
    lines = lines_of(capsys)
    assert lines[0] == "train"
    assert re.fullmatch(r"  model   LandmarkDetector \(UNet, HeatmapHead\), [\d,]+ parameters", lines[1])
    assert lines[2] == "  data    train 5, val 4; 19 landmarks in 2D; errors in px"
    assert lines[3] == "  device  CPU, 1 thread, float32"
    assert lines[4] == "  plan    4 epochs of 3 steps, batches of 2"
    assert lines[5] == f"  folder  {tmp_path} (everything else is in the log there)"
    number = r"[\d.e-]+"
    first = rf"epoch 2/4   loss {number}   MRE {number} px \(best {number}\)   lr {number}   ETA 0:\d\d:\d\d"
    assert re.fullmatch(first, lines[6])
    assert re.fullmatch(
        rf"epoch 4/4   loss {number}   MRE {number} px \(best {number}\)   lr {number}", lines[7]
    )
    assert re.fullmatch(rf"trained in 0:\d\d:\d\d: {tmp_path}", lines[8])
    assert len(lines) == 9
    log = next(tmp_path.glob("*/*.log")).read_text()
    for part in ("System environment", "Hooks will be executed", "Epoch(train)", "Epoch(val)", lines[6]):
        assert part in log


def test_a_test_and_a_resumed_training_say_what_they_are(tmp_path, capsys):
    train_config(config_of(tmp_path, 1))
    lines_of(capsys)
    train_config(config_of(tmp_path, 2), resume="auto")
    lines = lines_of(capsys)
    assert "  plan    2 epochs of 2 steps, batches of 2, resumed after epoch 1/2" in lines
    test_config(config_of(tmp_path), tmp_path / "epoch_2.pth")
    lines = lines_of(capsys)
    assert lines[0] == "test"
    assert "  data    test 4; 19 landmarks in 2D; errors in px" in lines
    assert len(lines) == 5


def test_verbose_shows_all(tmp_path, capsys):
    train_config(config_of(tmp_path, 1, **{"env_cfg.verbose": True}))
    lines = lines_of(capsys)
    assert len(lines) > 100
    assert any("Hooks will be executed" in line for line in lines)


def test_warnings_and_errors_are_always_shown(tmp_path, capsys):
    runner = LandmarkRunner.from_cfg(config_of(tmp_path))
    lines_of(capsys)
    runner.logger.info("a detail")
    runner.logger.warning("odd")
    runner.logger.error("wrong")
    console.say(runner.logger, "gist")
    assert lines_of(capsys) == ["warning: odd", "error: wrong", "gist"]


def test_epochs_without_validation_are_told_from_time_to_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "QUIET_SECONDS", 0)
    config = config_of(tmp_path, 3)
    for key in ("val_dataloader", "val_evaluator", "val_cfg"):
        config[key] = None
    train_config(config)
    told = [line.split("   ")[0] for line in lines_of(capsys) if line.startswith("epoch")]
    assert told == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_a_loop_by_iterations_tells_its_steps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "QUIET_SECONDS", 1e9)
    loader = phantom_dataloader()
    loader["sampler"] = dict(type="InfiniteSampler")
    config = config_of(tmp_path, train_dataloader=loader)
    config.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=2)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=4)
    config.log_processor, config.param_scheduler = dict(by_epoch=False), []
    train_config(config)
    lines = lines_of(capsys)
    assert "  plan    4 steps, batches of 2" in lines
    assert [line.split("   ")[0] for line in lines if line.startswith("step")] == ["step 2/4", "step 4/4"]


def test_the_best_so_far_is_that_of_the_whole_run(tmp_path, capsys, monkeypatch):
    errors = iter([3.0, 4.0, 4.0, 5.0])  # after epochs 2, 4, again 4, which the checkpoint precedes, and 5
    original = LandmarkMetric.compute_metrics
    monkeypatch.setattr(
        LandmarkMetric, "compute_metrics", lambda self, r: original(self, r) | dict(mre=next(errors))
    )
    for epochs, resume in ((4, None), (5, "auto")):
        train_config(config_of(tmp_path, epochs), resume=resume)
    assert re.findall(r"MRE (\d).*\((best \d)\)", "\n".join(lines_of(capsys))) == [
        (error, "best 3") for error in "3445"
    ]


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_notices_about_code_of_others_stay_in_the_file(level):
    record = logging.LogRecord("x", level, "", 0, '"FileClient" will be deprecated in future.', (), None)
    assert not console.ConsoleFilter().filter(record)


def test_samples_without_annotation_are_counted(tmp_path, capsys):
    config = config_of(tmp_path, 1)
    config.train_dataloader.dataset.num_samples = 3
    runner = LandmarkRunner.from_cfg(config)
    runner._train_dataloader = runner.build_dataloader(runner._train_dataloader, seed=0)
    dataset = runner._train_dataloader.dataset
    dataset.data_list[1]["landmarks"][:] = float("nan")
    runner.train()
    assert "  data    train 3 (1 without annotation), val 4;" in "\n".join(lines_of(capsys))


def test_environment_variables_of_a_config_are_no_news(tmp_path, monkeypatch, capsys):
    logger = MMLogger("mmengine")  # as it is before there is a run
    monkeypatch.setattr(MMLogger, "get_current_instance", classmethod(lambda cls: logger))
    monkeypatch.setenv("SIZE_OF_MINE", "7")
    (tmp_path / "mine.py").write_text("size = '{{$SIZE_OF_MINE:3}}'\n")
    assert load_config(tmp_path / "mine.py").size == "7"
    assert lines_of(capsys) == []
    logger.info("of somebody else")  # as loud as before
    assert "of somebody else" in lines_of(capsys)[0]


def test_millimetres_are_told_with_the_size_of_a_pixel(tmp_path, capsys):
    config = config_of(tmp_path, 1)
    config.val_evaluator.unit = "mm"
    train_config(config)
    known = r".*; errors in mm \([\d.]+ to [\d.]+ mm per pixel\)"  # phantoms differ in scale
    assert sum(bool(re.fullmatch(known, line)) for line in lines_of(capsys)) == 1


@pytest.mark.parametrize(
    ("scales", "said"),
    [([], ""), ([0.1, 0.1], " (0.1 mm per pixel)"), ([0.2, 0.1, 0.15], " (0.1 to 0.2 mm per pixel)")],
)
def test_the_size_of_a_pixel(scales, said):
    assert console._scale(scales, "pixel") == said


def test_volumes_have_voxels(tmp_path, capsys):
    config = config_of(tmp_path, 2)
    options = dict(num_landmarks=26, size=(16, 16, 16), num_samples=2)
    config.train_dataloader = phantom_dataloader(**options)
    config.val_dataloader = config.test_dataloader = phantom_dataloader(**options, train=False)
    config.model.head.num_landmarks = 26
    train_config(config)
    lines = lines_of(capsys)
    assert any(line.endswith("landmarks in 3D; errors in voxels") for line in lines)
    assert any(re.search(r"MRE [\d.]+ voxels \(best", line) for line in lines)
    assert not any(" px" in line for line in lines)


def test_an_argument_of_a_base_class_is_named(tmp_path):
    config = config_of(tmp_path)
    runner = LandmarkRunner.from_cfg(config)
    config.train_dataloader.dataset = dict(type="TpsFile", ann_file="a.tps", id="train.txt")
    message = r"TpsFile got an unexpected keyword argument 'id' .*takes .*, ids, "
    with pytest.raises(TypeError, match=message):
        runner.build_dataloader(config.train_dataloader, seed=0)
    with pytest.raises(TypeError, match=message):  # already when the data is asked for its dimensions
        LandmarkRunner.from_cfg(config)


def test_a_log_on_a_full_disk_is_told_once(tmp_path, capfd):
    with small_disk(tmp_path, 8) as disk:
        handler = logging.FileHandler(disk / "a.log", delay=False)
        logger = logging.Logger("a run")
        logger.addHandler(handler)
        console.go_on_without_log(logger)
        for _ in range(3):
            logger.info("x" * 2**14)
        with contextlib.suppress(OSError):
            handler.close()
    said = capfd.readouterr().err
    assert said == f"warning: {disk / 'a.log'} cannot be written: [Errno 28] No space left on device\n"


def test_other_errors_of_a_log_are_told_as_ever(tmp_path, capfd):
    handler = logging.FileHandler(tmp_path / "a.log")
    logger = logging.Logger("a run")
    logger.addHandler(handler)
    console.go_on_without_log(logger)
    logger.info("%d", "no number")
    handler.close()
    assert "--- Logging error ---" in capfd.readouterr().err
