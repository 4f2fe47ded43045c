"""mmlandmark split: lists of ids, by group, the same every time."""

import json
from pathlib import Path

import pytest

from mmlandmark.cli import invoke
from mmlandmark.testing import tiny_config
from mmlandmark.utils.files import safe_name
from mmlandmark.utils.shipped import config_root


def records(count, group=lambda i: None):
    return [dict(sample_id=f"case{i:04d}", group=group(i)) for i in range(count)]


def test_lists_are_written_once(tmp_path, capsys):
    samples = [dict(id=f"p{i}", landmarks=[[1, 2], [3, 4]]) for i in range(10)]
    (tmp_path / "all.json").write_text(json.dumps(dict(samples=samples)))
    dataset = dict(type="LandmarkDataset", ann_file=str(tmp_path / "all.json"), ids="nowhere.txt")
    config = tiny_config(tmp_path / "run")
    config.test_dataloader = dict(batch_size=1, dataset=dataset)
    config.dump(tmp_path / "config.py")
    call = [str(tmp_path / "config.py"), "--parts", "train=6", "test=4", "--out", str(tmp_path / "lists")]
    invoke("split", call)
    lists = {p.name: p.read_text().split() for p in (tmp_path / "lists").iterdir()}
    assert {name: len(ids) for name, ids in lists.items()} == {"train.txt": 6, "test.txt": 4}
    assert "train.txt: 6 ids" in capsys.readouterr().out
    config.test_dataloader.dataset = dict(type="ConcatDataset", datasets=[dataset])
    config.dump(tmp_path / "wrapped.py")
    invoke("split", [str(tmp_path / "wrapped.py"), *call[1:-1], str(tmp_path / "same")])
    assert {p.name: p.read_text().split() for p in (tmp_path / "same").iterdir()} == lists
    config.test_dataloader.dataset.datasets = [dataset, dataset]
    config.dump(tmp_path / "two.py")
    with pytest.raises(ValueError, match="the test has 2 datasets"):
        invoke("split", [str(tmp_path / "two.py"), *call[1:]])
    some = tmp_path / "some.txt"
    some.write_text("p3\np1\n\np4\n")
    invoke("split", [*call[:-1], str(tmp_path / "fewer"), "--among", str(some)])
    fewer = {p.name: p.read_text().split() for p in (tmp_path / "fewer").iterdir()}
    assert sorted(i for ids in fewer.values() for i in ids) == ["p1", "p3", "p4"]
    some.write_text("p77\n")
    with pytest.raises(ValueError, match=r"ids are not in .*'p77'"):
        invoke("split", [*call[:-1], str(tmp_path / "none"), "--among", str(some)])

    invoke("split", call)
    with pytest.raises(ValueError, match="lists other ids; remove it"):
        invoke("split", [*call, "--seed", "5"])
    assert {p.name: p.read_text().split() for p in (tmp_path / "lists").iterdir()} == lists


def test_a_config_without_a_test_has_its_training_data_divided(tmp_path):
    samples = [dict(id=f"p{i}", landmarks=[[1, 2], [3, 4]]) for i in range(4)]
    (tmp_path / "all.json").write_text(json.dumps(dict(samples=samples)))
    dataset = dict(type="LandmarkDataset", ann_file=str(tmp_path / "all.json"))
    (tmp_path / "config.py").write_text(f"train_dataloader = dict(dataset={dataset!r})\n")
    words = ["--parts", "a=1", "b=1", "--out", str(tmp_path / "lists")]
    invoke("split", [str(tmp_path / "config.py"), *words])
    assert sorted(one for text in lists_in(tmp_path / "lists").values() for one in text.split()) == [
        "p0",
        "p1",
        "p2",
        "p3",
    ]
    (tmp_path / "none.py").write_text("seed = 1\n")
    with pytest.raises(ValueError, match=r"none\.py has no data: neither test_dataloader nor train_data"):
        invoke("split", [str(tmp_path / "none.py"), *words])


PARTS = ["--parts", "train=6", "test1=2", "test2=2"]


def lists_in(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_shipped_lists_of_cephalograms_are_what_the_tool_writes(tmp_path, monkeypatch):
    """Ids and groups decide, so that a release without images gives the lists of the real one."""
    for observer in ("senior", "junior"):
        folder = tmp_path / "data" / "AnnotationsByMD" / f"400_{observer}"
        folder.mkdir(parents=True)
        for number in range(1, 401):
            (folder / f"{number:03d}.txt").write_text("1,2\n" * 19)
    (tmp_path / "data" / "RawImage").mkdir()
    monkeypatch.setenv("ISBI2015_ROOT", str(tmp_path / "data"))
    config = config_root() / "fsf_ld/unet4_isbi2015_512x512.py"
    invoke("split", [str(config), *PARTS, "--out", str(tmp_path / "lists")])
    shipped = lists_in(config_root() / "fsf_ld/splits/isbi2015")
    assert lists_in(tmp_path / "lists") == shipped
    parts = {name: set(text.split()) for name, text in shipped.items()}
    assert {name: len(ids) for name, ids in parts.items()} == {
        "train.txt": 240,
        "test1.txt": 80,
        "test2.txt": 80,
    }
    assert set.union(*parts.values()) == {f"{number:03d}" for number in range(1, 401)}
    for film in ({"038", "283"}, {"144", "173"}, {"001", "275"}, {"196", "277"}):
        assert sum(film <= ids for ids in parts.values()) == 1, "one film lies in two parts"


@pytest.mark.real_data
def test_parts_of_the_hand_atlas_are_those_of_the_paper(real_data, tmp_path, monkeypatch):
    root = real_data("hand_dha")
    monkeypatch.setenv("HAND_ATLAS_ROOT", str(root))
    config = Path(config_root()) / "fsf_ld/unet4_hand_512x256.py"
    lists = [str(root / "setup/cv/set1" / name) for name in ("train.txt", "test.txt")]
    invoke("split", [str(config), *PARTS, "--among", *lists, "--out", str(tmp_path)])
    sizes = {p.stem: len(p.read_text().split()) for p in tmp_path.iterdir()}
    assert sizes == dict(train=537, test1=179, test2=179)
    assert lists_in(tmp_path) == lists_in(config_root() / "fsf_ld/splits/hand_atlas")


def test_a_list_lies_in_its_folder(tmp_path):
    samples = [dict(id=f"p{i}", landmarks=[[1, 2]]) for i in range(4)]
    (tmp_path / "all.json").write_text(json.dumps(dict(samples=samples)))
    config = tiny_config(tmp_path / "run")
    config.test_dataloader = dict(
        batch_size=1, dataset=dict(type="LandmarkDataset", ann_file=str(tmp_path / "all.json"))
    )
    config.dump(tmp_path / "config.py")
    out = tmp_path / "deep" / "lists"
    invoke("split", [str(tmp_path / "config.py"), "--parts", "x/../../evil=1", "test=1", "--out", str(out)])
    assert sorted(p.name for p in out.iterdir()) == sorted([f"{safe_name('x/../../evil')}.txt", "test.txt"])
    assert not [p for p in tmp_path.rglob("*evil*") if out not in p.parents]
