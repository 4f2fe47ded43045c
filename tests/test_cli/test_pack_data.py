"""mmlandmark pack-data: a small copy that measures the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.cli import invoke
from mmlandmark.cli.pack_data import as_it_is, packed
from mmlandmark.datasets import LandmarkDataset, ShardedDataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    samples = []
    for number, split in enumerate(["train", "train", "test"]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (120, 90), dtype=np.uint8))
        points = [[10.0 + number, 20.0], [89.0, 119.0], None]
        samples.append(
            dict(
                id=str(number),
                image=f"{number}.png",
                split=split,
                landmarks=points,
                group=f"p{number}",
                visibility=[1, 0, -1],
                weights=[1.0, 0.25 * number, 0.5],
                fold=7 - number,
                predicted=dict(scores=[0.9, 0.5, 0.1], radii={"0.9": [1.5, 2.0 + number, None]}),
            )
        )
    content = dict(schema=dict(name="three", landmarks=["a", "b", "c"]), spacing=0.1, samples=samples)
    (tmp_path / "all.json").write_text(json.dumps(content))
    config = tmp_path / "config.py"
    data = f"dict(type='LandmarkDataset', data_root={str(tmp_path)!r}, ann_file='all.json', split="
    config.write_text(
        "".join(f"{part}_dataloader = dict(dataset={data}{part!r}))\n" for part in ("train", "test"))
    )
    return config


def test_the_copy_measures_the_same(source, tmp_path, capsys):
    out = tmp_path / "copy"
    invoke("pack-data", [str(source), "--size", "40", "45", "--out", str(out)])
    assert "wrote 3 samples" in capsys.readouterr().out
    copy = LandmarkDataset("annotations.json", str(out))
    assert [copy.get_data_info(i)["split"] for i in range(3)] == ["train", "train", "test"]
    assert copy.schema.landmarks == ("a", "b", "c")
    record = copy.get_data_info(1)
    assert cv2.imread(record["img_path"], cv2.IMREAD_GRAYSCALE).shape == (40, 45)
    points = np.asarray(record["landmarks"])
    np.testing.assert_allclose(points[0], [(11 + 0.5) / 2 - 0.5, (20 + 0.5) / 3 - 0.5], atol=1e-3)
    assert np.isnan(points[2]).all()
    original = LandmarkDataset("all.json", str(tmp_path)).get_data_info(1)
    assert "predicted" not in record, "radii would be those of other pixels"
    assert (record["fold"], record["group"]) == (original["fold"], original["group"]) == (6, "p1")
    for key in ("visibility", "weights"):
        np.testing.assert_array_equal(record[key], original[key])
    np.testing.assert_allclose(record["spacing"], [0.2, 0.3])
    millimetres = (points[1] - points[0]) * record["spacing"]
    np.testing.assert_allclose(millimetres, 0.1 * np.array([89.0 - 11.0, 119.0 - 20.0]), atol=1e-3)


def test_the_copy_of_a_turned_image_is_upright(tmp_path):
    data = cv2.imencode(".jpg", np.zeros((90, 120), np.uint8))[1].tobytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # a quarter to the right
    segment = b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    record = dict(sample_id="a", img_path=str(tmp_path / "a.jpg"), landmarks=[[10, 20]], spacing=(0.3, 0.2))
    sample, copy = packed(record, (60, 90), "train")
    assert copy.shape == (60, 90)
    np.testing.assert_allclose(sample["landmarks"], [[89 - 20, (10 + 0.5) / 2 - 0.5]])
    np.testing.assert_allclose(sample["spacing"], [0.2, 0.6])


def test_a_copy_that_is_not_whole_has_no_annotations(source, tmp_path, monkeypatch):
    out = tmp_path / "copy"
    invoke("pack-data", [str(source), "--size", "40", "45", "--out", str(out)])
    monkeypatch.setattr("cv2.imwrite", lambda *_: False)
    with pytest.raises(ValueError, match=r"0\.jpg cannot be written"):
        invoke("pack-data", [str(source), "--size", "80", "90", "--out", str(out)])
    with pytest.raises(ValueError, match=r"annotations\.json: .*'samples'"):
        LandmarkDataset("annotations.json", str(out))
    monkeypatch.undo()
    invoke("pack-data", [str(source), "--size", "80", "90", "--out", str(out)])
    assert len(LandmarkDataset("annotations.json", str(out))) == 3


@pytest.mark.parametrize("name", ["annotations.json", "train/0.jpg"])
def test_a_copy_replaces_nothing_of_the_data_itself(source, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((tmp_path / "all.json").read_bytes())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"(annotations\.json|train) was not written by pack-data"):
        invoke("pack-data", [str(source), "--size", "40", "45", "--out", str(tmp_path)])
    assert path.read_bytes() == before


def test_a_sample_of_two_splits_is_refused(source, tmp_path):
    text = source.read_text().replace("split='test'", "split='train'")
    source.write_text(text)
    with pytest.raises(ValueError, match="sample '0' is in two data sets"):
        invoke("pack-data", [str(source), "--size", "40", "45", "--out", str(tmp_path / "copy")])


def test_no_id_leads_out_of_the_copy(source, tmp_path):
    content = json.loads((tmp_path / "all.json").read_text())
    content["samples"][0]["id"] = "x/../../../evil"
    content["samples"][1]["id"] = "x_.._.._.._evil"
    (tmp_path / "all.json").write_text(json.dumps(content))
    out = tmp_path / "deep" / "copy"
    invoke("pack-data", [str(source), "--size", "40", "45", "--out", str(out)])
    assert not [p for p in tmp_path.rglob("*evil*") if out not in p.parents]
    copy = LandmarkDataset("annotations.json", str(out))
    records = [copy.get_data_info(i) for i in range(3)]
    assert [r["sample_id"] for r in records] == ["x/../../../evil", "x_.._.._.._evil", "2"]
    assert len({r["img_path"] for r in records}) == 3


@pytest.mark.parametrize("shards", [[], ["--shards", "1"]])
def test_a_copy_keeps_colours_and_keys_of_its_own(source, tmp_path, shards):
    content = json.loads((tmp_path / "all.json").read_text())
    own = dict(age=40, patient="p1", site=dict(room=[1, None]), note="ü")
    content["samples"][0] |= own
    del content["samples"][0]["group"], content["samples"][1]["group"], content["samples"][2]["group"]
    (tmp_path / "all.json").write_text(json.dumps(content))
    cv2.imwrite(str(tmp_path / "0.png"), np.full((120, 90, 3), (10, 100, 220), np.uint8))
    out = tmp_path / "copy"
    invoke("pack-data", [str(source), "--size", "40", "45", *shards, "--out", str(out)])
    load = [dict(type="LoadImage")]
    if shards:
        copy = ShardedDataset(str(out / "index.json"), pipeline=load)
    else:
        copy = LandmarkDataset("annotations.json", str(out), pipeline=load)
    first = copy[0]
    assert {key: first[key] for key in own} == own
    assert first["group"] == "p1"
    np.testing.assert_allclose(first["img"].mean((0, 1)), [220, 100, 10], atol=3)
    assert copy[1]["img"].ndim == 2


def test_keys_that_a_copy_cannot_keep_are_told(tmp_path):
    record = dict(sample_id="x", img_path=str(tmp_path / "a.png"), landmarks=[[1, 2]])
    cv2.imwrite(record["img_path"], np.zeros((9, 8), np.uint8))
    with pytest.raises(ValueError, match="sample 'x': its 'height' would be that of its image"):
        as_it_is(dict(record, height=180.0), "train")
    with pytest.raises(ValueError, match="sample 'x': its 'age' is nan, which JSON cannot hold: leave it"):
        packed(dict(record, age=np.float64("nan")), (9, 8), "train")
    sample, _ = packed(dict(record, **{"a radius 90 % [px]": 3.0, "classes": np.arange(2)}), (9, 8), "train")
    assert "a radius 90 % [px]" not in sample
    assert sample["classes"] == [0, 1]


def phantoms(tmp_path, **options):
    config, one = tmp_path / "config.py", dict(type="PhantomDataset", kind="hand", size=(96, 64), **options)
    wrapped = dict(type="RepeatDataset", times=3, dataset=dict(one, num_samples=2))
    both = dict(type="ConcatDataset", datasets=[wrapped, dict(one, num_samples=1, offset=2)])
    config.write_text(f"train_dataloader = dict(dataset={both!r})\n")
    return str(config)


def test_phantoms_are_packed_once_each(tmp_path):
    config, out = phantoms(tmp_path), tmp_path / "copy"
    invoke("pack-data", [config, "--size", "48", "32", "--out", str(out)])
    copy = LandmarkDataset("annotations.json", str(out), pipeline=[dict(type="LoadImage")])
    assert [copy[n]["sample_id"] for n in range(len(copy))] == [f"hand_0_00000{n}" for n in range(3)]
    assert copy[2]["img"].shape == (48, 32)
    assert copy[2]["img"].std() > 10
    with pytest.raises(
        ValueError, match=r"its image is not one file of its own \(it has none\); give --size"
    ):
        invoke("pack-data", [config, "--shards", "1", "--out", str(tmp_path / "shards")])


def test_data_sets_of_other_landmarks_are_not_packed_together(tmp_path):
    config = phantoms(tmp_path)
    text = Path(config).read_text().replace("'offset': 2", "'offset': 2, 'landmarks': [0, 1]")
    Path(config).write_text(text)
    with pytest.raises(ValueError, match=r"data sets of .*config\.py have different landmarks: pack each"):
        invoke("pack-data", [config, "--size", "48", "32", "--out", str(tmp_path / "copy")])


# ---- shards -----------------------------------------------------------------------------------------


def same(one, other):
    for key in ("sample_id", "split", "group", "fold", "spacing", "ori_shape"):
        assert one.get(key) == other.get(key)
    for key in ("visibility", "weights"):
        np.testing.assert_array_equal(one.get(key), other.get(key))
    np.testing.assert_array_equal(one["landmarks"], other["landmarks"])


def test_shards_hold_the_files_as_they_are(source, tmp_path, capsys):
    out = tmp_path / "shards"
    invoke("pack-data", [str(source), "--shards", "1", "--out", str(out)])
    assert "wrote 3 samples to 2 shards in" in capsys.readouterr().out
    shards, loose = ShardedDataset(str(out / "index.json")), LandmarkDataset("all.json", str(tmp_path))
    assert shards.schema.landmarks == ("a", "b", "c")
    for number in range(3):
        record, original = shards.get_data_info(number), loose.get_data_info(number)
        same(record, dict(original, ori_shape=(120, 90)))
        source_file = Path(original["img_path"])
        assert shards.store.read(record["stored"]) == source_file.read_bytes()
        assert record["predicted"]["radii"] == {"0.9": [1.5, 2.0 + number, None]}


def test_shards_hold_resized_images(source, tmp_path):
    for words in (["--out", str(tmp_path / "loose")], ["--shards", "1", "--out", str(tmp_path / "shards")]):
        invoke("pack-data", [str(source), "--size", "40", "45", *words])
    shards = ShardedDataset(str(tmp_path / "shards" / "index.json"))
    loose = LandmarkDataset("annotations.json", str(tmp_path / "loose"))
    for number in range(3):
        record, original = shards.get_data_info(number), loose.get_data_info(number)
        same(record, original)
        assert shards.store.read(record["stored"]) == Path(original["img_path"]).read_bytes()


def test_shards_hold_volumes_with_all_that_is_known(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.Nifti1Image(np.zeros((8, 9, 10), np.float32), np.diag([2.0, 2, 3, 1]))
    nibabel.save(volume, tmp_path / "v.nii.gz")
    readers = [[[1.0, 2, 3], [4, 5, 6]], [[1.5, 2, 3], [4, 5, 6.25]]]
    entry = dict(id="v", image="v.nii.gz", by_annotator=readers, fold=3, weights=[1, 0.5], landmarks=None)
    content = dict(schema=dict(name="two", landmarks=["a", "b"], dims=3), samples=[entry])
    (tmp_path / "all.json").write_text(json.dumps(content))
    config = tmp_path / "config.py"
    data = f"dict(type='LandmarkDataset', data_root={str(tmp_path)!r}, ann_file='all.json')"
    config.write_text(f"test_dataloader = dict(dataset={data})\n")
    invoke("pack-data", [str(config), "--shards", "1", "--out", str(tmp_path / "shards")])
    shards = ShardedDataset(str(tmp_path / "shards" / "index.json"), pipeline=[dict(type="LoadImage")])
    record, original = (
        data.get_data_info(0) for data in (shards, LandmarkDataset("all.json", str(tmp_path)))
    )
    same(record, dict(original, split="test"))
    for key in ("by_annotator", "weights", "fold"):
        np.testing.assert_array_equal(record[key], original[key])
    loaded = shards[0]
    assert loaded["img"].shape == (10, 9, 8)
    np.testing.assert_allclose(np.diag(loaded["world_from_original"])[[0, 2]] ** 2, [4, 9])


@pytest.mark.parametrize("name", [None, "slices", "a.mhd", "a.mha"])
def test_what_is_no_file_of_its_own_is_refused(tmp_path, name):
    (tmp_path / "slices").mkdir()
    (tmp_path / "a.mha").write_text("NDims = 3\nElementDataFile = a.raw\n")
    (tmp_path / "a.raw").write_bytes(b"voxels")
    path = None if name is None else str(tmp_path / name)
    with pytest.raises(ValueError, match="sample 'x': its image is not one file of its own"):
        as_it_is(dict(sample_id="x", img_path=path, landmarks=[[1, 2]]), "train")


def test_a_file_without_a_suffix_gets_that_of_its_content(tmp_path):
    (tmp_path / "film").write_bytes(cv2.imencode(".png", np.zeros((9, 8), np.uint8))[1].tobytes())
    record = dict(sample_id="x", img_path=str(tmp_path / "film"), landmarks=[[1, 2]])
    sample, suffix, _ = as_it_is(record, "train")
    assert (suffix, sample["width"], sample["height"]) == (".png", 8, 9)


def test_a_size_or_shards_are_needed(source, tmp_path):
    with pytest.raises(ValueError, match="give --size H W for a small copy, or --shards MIB"):
        invoke("pack-data", [str(source), "--out", str(tmp_path / "copy")])
    (tmp_path / "none.py").write_text("seed = 1\n")
    with pytest.raises(ValueError, match=r"none\.py has no data to pack: no data loader, or no sample"):
        invoke("pack-data", [str(tmp_path / "none.py"), "--size", "9", "9", "--out", str(tmp_path / "copy")])
    with pytest.raises(ValueError, match="--lmdb is a kind of shards"):
        invoke("pack-data", [str(source), "--lmdb", "--size", "9", "9", "--out", str(tmp_path / "copy")])
