"""Plans are run in order, resumed after a kill, and shared by processes without doing a run twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.engine import ConfigError, Node, RunLock, Step, UnfinishedRun, execute_plan, plan_execution
from mmlandmark.engine.checkpoint_files import latest_checkpoint
from mmlandmark.testing.forks import forked
from waiting import wait_until


class Count(Step):
    name = "count"

    def run(self, node):
        note(node.folder.parent / "steps", node.name)
        return dict(runs=len(node.runs()))


def note(file, text):
    """Write into a file what was done, and by which process."""
    with open(file, "a") as stream:
        stream.write(f"{text} {os.getpid()}\n")


def train(config, seconds):
    """Write what the training started from, epoch by epoch, and note that it ran."""
    folder = Path(config.work_dir)
    done, weights = 0, Path(config.load_from).read_text() if config.get("load_from") else ""
    if config.get("resume"):
        newest = latest_checkpoint(folder)
        done, weights = int(newest.stem.split("_")[1]), newest.read_text()
    for epoch in range(done, 3):
        note(folder / "epochs", epoch)
        time.sleep(seconds)
        weights += f"<{config.model.type}{epoch + 1}>"
        (folder / f".epoch_{epoch + 1}").write_text(weights)
        (folder / f".epoch_{epoch + 1}").rename(folder / f"epoch_{epoch + 1}.pth")
    return dict(mre=2.0)


def leaf(folder, name, start=None):
    values = dict(model=dict(type=name), randomness=dict(seed=0))
    return Node(name, folder / name, Config(values if start is None else dict(values, load_from=start)))


def make(folder):
    shared = leaf(folder, "shared")
    arms = [
        Node(
            f"arm{n}",
            folder / f"arm{n}",
            children=[
                leaf(folder / f"arm{n}", "rough", "run:shared:last"),
                leaf(folder / f"arm{n}", "fine", "run:rough:last"),
            ],
            steps=[Count()],
        )
        for n in range(4)
    ]
    return Node("plan", folder, children=[shared, *arms])


WHOLE = "".join(f"<{name}{epoch}>" for name in ("shared", "rough", "fine") for epoch in (1, 2, 3))


def quick(config):
    return train(config, 0)


def epochs_of(folder) -> dict[str, list[str]]:
    """Return the epochs that were trained in every run's folder, in order."""
    return {
        str(path.parent.relative_to(folder)): [line.split()[0] for line in path.read_text().splitlines()]
        for path in sorted(folder.rglob("epochs"))
    }


def weights_of(folder) -> dict[str, str]:
    return {
        str(path.parent.relative_to(folder)): latest_checkpoint(path.parent).read_text()
        for path in folder.rglob("run.json")
        if latest_checkpoint(path.parent) is not None
    }


def test_runs_in_order_once_and_again_nothing(tmp_path):
    results = execute_plan(make(tmp_path), quick)
    assert set(results) == {"shared", *(f"arm{n}/{s}" for n in range(4) for s in ("rough", "fine"))}
    assert results["arm2/fine"].checkpoint == "epoch_3.pth"
    assert results["arm2/fine"].metrics == dict(mre=2.0)
    assert weights_of(tmp_path)["arm3/fine"] == WHOLE
    assert set(map(tuple, epochs_of(tmp_path).values())) == {("0", "1", "2")}
    note = json.loads((tmp_path / "arm0/run.json").read_text())
    assert note["steps"] == dict(count=dict(runs=2.0))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert execute_plan(make(tmp_path), quick) == results
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


def test_only_some_runs(tmp_path):
    plan = make(tmp_path)
    with pytest.raises(
        ConfigError, match="run 'arm0/rough' needs 'shared', which is not finished: run it first"
    ):
        execute_plan(plan, quick, [plan.children[1]])
    assert set(execute_plan(plan, quick, [plan.children[0]])) == {"shared"}
    assert set(execute_plan(plan, quick, [plan.children[2]])) == {"shared", "arm1/rough", "arm1/fine"}


def test_what_is_not_wanted_runs_only_if_it_is_needed(tmp_path):
    needed, other, last = leaf(tmp_path, "a"), leaf(tmp_path, "b"), leaf(tmp_path, "c", "run:a:last")
    needed.wanted = other.wanted = False
    assert set(execute_plan(Node("plan", tmp_path, children=[needed, other, last]), quick)) == {"a", "c"}


def test_a_best_checkpoint_that_is_not_there_is_an_error(tmp_path):
    plan = Node("plan", tmp_path, children=[leaf(tmp_path, "a"), leaf(tmp_path, "b", "run:a:best")])
    with pytest.raises(ConfigError, match="'run:a:best': run 'a' kept no best checkpoint; set save_best"):
        execute_plan(plan, quick)


def test_a_folder_of_another_run_is_found_before_anything_runs(tmp_path):
    execute_plan(make(tmp_path), quick, [make(tmp_path).children[0]])
    plan = make(tmp_path)
    plan.children[4].children[1].folder.mkdir(parents=True)
    leaf(tmp_path / "arm3", "fine", "other.pth").run_folder.begin()
    with pytest.raises(ConfigError, match=r"run 'arm3/fine': .* holds a run with other values"):
        execute_plan(plan, quick)
    assert list(epochs_of(tmp_path)) == ["shared"]


def test_a_run_that_stops_in_time_is_not_finished(tmp_path):
    def stop(config):
        Path(config.work_dir, "epoch_1.pth").write_text("x")
        raise UnfinishedRun("no time")

    with pytest.raises(UnfinishedRun):
        execute_plan(make(tmp_path), stop)
    assert "checkpoint" not in json.loads((tmp_path / "shared/run.json").read_text())
    assert not list(tmp_path.rglob("run.lock"))
    execute_plan(make(tmp_path), quick)
    assert epochs_of(tmp_path)["shared"] == ["1", "2"]


def test_a_failed_step_is_run_again_without_the_training(tmp_path):
    class Failing(Step):
        name, failed = "count", False

        def run(self, node):
            if not self.failed:
                self.failed = True
                raise ValueError("disk full")
            return {}

    node = leaf(tmp_path, "a")
    node.steps = [Failing()]
    with pytest.raises(ValueError, match="disk full"):
        execute_plan(node, quick)
    execute_plan(node, quick)
    assert epochs_of(tmp_path) == {"a": ["0", "1", "2"]}


def test_a_run_on_record_is_finished_whatever_its_folder_holds(tmp_path):
    class Recorded(Step):
        name = "record"

        def done(self, node):
            return True

        def run(self, node):
            pytest.fail("it is on record")

    leaf(tmp_path, "a", "other.pth").run_folder.begin()
    node = leaf(tmp_path, "a")
    node.steps = [Recorded()]
    results = execute_plan(Node("plan", tmp_path, children=[node, leaf(tmp_path, "b")]), quick)
    assert list(results) == ["b"]
    assert list(epochs_of(tmp_path)) == ["b"]


def test_a_cheap_report_is_run_every_time(tmp_path):
    class Report(Count):
        name, always, count = "report", True, 0

        def run(self, node):
            self.count += 1
            return {}

    report = Report()
    for _ in range(2):
        execute_plan(Node("plan", tmp_path, children=[leaf(tmp_path, "a")], steps=[report]), quick)
    assert report.count == 2
    assert not (tmp_path / "run.json").exists(), "a selection of runs may change from call to call"


def test_a_busy_run_is_skipped_and_visited_again(tmp_path):
    """The others run meanwhile; what needs the busy one waits."""
    lock, order = RunLock(tmp_path / "a"), []

    def trained(config):
        order.append(Path(config.work_dir).name)
        if order == ["b"]:
            lock.release()
        return quick(config)

    plan = Node(
        "plan",
        tmp_path,
        children=[leaf(tmp_path, "a"), leaf(tmp_path, "c", "run:a:last"), leaf(tmp_path, "b")],
    )
    assert lock.acquire()
    execute_plan(plan, trained, poll=0.01)
    assert order == ["b", "a", "c"]


def test_a_selected_run_waits_for_its_input_elsewhere(tmp_path):
    plan = Node("plan", tmp_path, children=[leaf(tmp_path, "a"), leaf(tmp_path, "b", "run:a:last")])
    lock = RunLock(tmp_path / "a")
    assert lock.acquire()

    def elsewhere():
        time.sleep(0.2)
        quick(Config(dict(work_dir=str(tmp_path / "a"), model=dict(type="a"))))
        plan.children[0].run_folder.begin()
        plan.children[0].run_folder.finish_training({})
        lock.release()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert set(execute_plan(plan, quick, [plan.children[1]], poll=0.01)) == {"a", "b"}
    thread.join()


def test_an_input_that_ends_between_two_looks_is_finished(tmp_path, monkeypatch):
    plan = Node("plan", tmp_path, children=[leaf(tmp_path, "a"), leaf(tmp_path, "b", "run:a:last")])
    look = plan_execution.state_of

    def ends_before_the_second(node):
        quick(Config(dict(work_dir=str(node.folder), model=dict(type="a"))))
        node.run_folder.finish_training({})
        return look(node)

    (tmp_path / "a").mkdir()
    monkeypatch.setattr(plan_execution, "state_of", ends_before_the_second)
    assert set(execute_plan(plan, quick, [plan.children[1]])) == {"a", "b"}


def execute(folder, seconds):
    execute_plan(make(folder), lambda config: train(config, seconds), poll=0.01)


def start(folder, seconds):
    """Execute the plan in a process of its own."""
    return forked(execute, folder, seconds, daemon=True)


def finished(process):
    """Return whether a process ends as it should."""
    process.join(300)
    return process.exitcode == 0


def test_two_processes_share_a_plan(tmp_path):
    processes = [start(tmp_path, 0.1) for _ in range(2)]
    assert all(finished(process) for process in processes)
    assert set(map(tuple, epochs_of(tmp_path).values())) == {("0", "1", "2")}, "nothing is trained twice"
    assert len(epochs_of(tmp_path)) == 9
    owners = {line.split()[1] for path in tmp_path.rglob("epochs") for line in path.read_text().splitlines()}
    assert len(owners) == 2, "both took a part"
    for path in tmp_path.rglob("epochs"):
        assert len({line.split()[1] for line in path.read_text().splitlines()}) == 1
    steps = Counter(line.split()[0] for line in (tmp_path / "steps").read_text().splitlines())
    assert steps == {f"arm{n}": 1 for n in range(4)}
    assert not list(tmp_path.rglob("run.lock*"))
    alone = tmp_path.parent / f"{tmp_path.name}_alone"
    execute_plan(make(alone), quick)
    assert weights_of(tmp_path) == weights_of(alone)


def test_one_of_two_is_killed_and_the_other_finishes(tmp_path):
    first = start(tmp_path, 0.3)
    wait_until(lambda: (tmp_path / "shared/epoch_1.pth").exists())
    second = start(tmp_path, 0.01)  # waits for the shared run
    time.sleep(0.1)
    first.kill()
    first.join()
    assert finished(second)
    trained = epochs_of(tmp_path)
    repeated = trained.pop("shared")
    assert sorted(set(repeated)) == ["0", "1", "2"]
    assert len(repeated) <= 4, "at most the epoch that was cut off is trained again"
    assert set(map(tuple, trained.values())) == {("0", "1", "2")}
    assert weights_of(tmp_path)["arm0/fine"] == WHOLE


def test_killed_alone_the_same_command_finishes(tmp_path):
    process = start(tmp_path, 0.1)
    wait_until(lambda: (tmp_path / "arm0/fine/epoch_1.pth").exists())
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert finished(start(tmp_path, 0))
    alone = tmp_path.parent / f"{tmp_path.name}_alone"
    execute_plan(make(alone), quick)
    assert weights_of(tmp_path) == weights_of(alone)
    assert epochs_of(tmp_path)["shared"] == ["0", "1", "2"]
