"""Fault finding: planted faults are found, clean data stays quiet, and the real faults are counted."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.cli import run_command
from mmlandmark.datasets import LandmarkDataset, PhantomDataset
from mmlandmark.datasets.check_report import one_line, to_html, to_markdown
from mmlandmark.datasets.checks import Thresholds, check_dataset
from mmlandmark.datasets.releases import Isbi2015Cephalogram, SpineAasce2019
from mmlandmark.datasets.shape_model import align
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing.planted_faults import Annotations

SCHEMA = dict(
    name="ladder",
    landmarks=[f"{side}{level}" for level in range(6) for side in ("left", "right")],
    flip_pairs=[[2 * level, 2 * level + 1] for level in range(6)],
)


def ladder(count=30, seed=0):
    """(N, 12, 2) two columns of six points, slightly shaken."""
    base = np.array([[x, 20 + 25 * level] for level in range(6) for x in (40, 80)], dtype=float)
    return base + np.random.default_rng(seed).normal(0, 1.5, (count, 12, 2))


def dataset(folder, points, write_images=True, **more):
    """A dataset of these points; every image is different. ``more`` holds one list per key."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for n, shape in enumerate(points):
        image = np.full((180, 120), 100, np.uint8)
        image[n % 180, n // 180] = 255
        if write_images:
            cv2.imwrite(str(folder / f"{folder.name}{n}.png"), image)
        marks = [None if np.isnan(p).any() else p.tolist() for p in shape]
        samples.append(
            dict(image=f"{folder.name}{n}.png", landmarks=marks, **{k: v[n] for k, v in more.items()})
        )
    (folder / "a.json").write_text(json.dumps(dict(schema=SCHEMA, samples=samples)))
    return LandmarkDataset("a.json", str(folder), missing_images="keep")


def found(report):
    return {(f["check"], f["sample_id"]) for f in report["findings"]}


def test_clean_data_is_quiet(tmp_path):
    report = check_dataset(dict(train=dataset(tmp_path / "t", ladder())))
    assert report["findings"] == []
    assert report["splits"]["train"]["samples"] == 30
    assert report["splits"]["train"]["image_size"] == {"x": [120, 120], "y": [180, 180]}
    assert "Nothing was found" in to_markdown(report)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda p: p.__setitem__((3, 0), [-0.6, 20]), "point outside"),
        (lambda p: p.__setitem__((3, 11), [119.6, 145]), "point outside"),
        (lambda p: p.__setitem__((3, 4), p[3, 6] + 1), "points too close"),
        (lambda p: p.__setitem__((3, [4, 5]), p[3, [5, 4]]), "left-right swap"),
        (lambda p: p.__setitem__((3, [4, 6]), p[3, [6, 4]]), "order break"),
        (lambda p: p.__setitem__(3, p[3] * [-1, 1] + [119, 0]), "mirrored shape"),
        (lambda p: p.__setitem__(3, p[3][np.random.default_rng(0).permutation(12)]), "shape outlier"),
        (lambda p: p.__setitem__(3, p[7]), "same landmarks"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, fault, expected):
    points = ladder()
    fault(points)
    results = found(check_dataset(dict(train=dataset(tmp_path / "t", points))))
    culprit = "t7" if expected == "same landmarks" else "t3"
    assert (expected, culprit) in results
    assert {sample for _, sample in results} == {culprit}


def test_a_single_landmark_far_off_is_named(tmp_path):
    points = ladder(60)
    points[3, 7, 0] += 14
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)), Thresholds(shape=1e3, landmark=5))
    (finding,) = report["findings"]
    assert (finding["check"], finding["sample_id"], finding["landmarks"]) == ("landmark outlier", "t3", [7])


def of_check(report, check):
    return {(f["sample_id"], *f["landmarks"]) for f in report["findings"] if f["check"] == check}


@pytest.mark.parametrize("value", [(0, 0), (-1, -1), (119, 179), (120, 180), (0, 179), (33.3, 44.4)])
def test_placeholders_name_their_landmark_and_disturb_nothing_else(tmp_path, value):
    points = ladder()
    points[[2, 9, 20, 21], 7] = value
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    assert of_check(report, "placeholder") == {("t2", 7), ("t9", 7), ("t20", 7), ("t21", 7)}
    assert set(report["summary"]) == {"placeholder"}
    assert report["severities"] == {"error": 4, "warning": 0, "note": 0}
    line = one_line(report["findings"][0])
    assert line.startswith("error: ")
    assert "a.json" in line
    assert "landmark 7 (right3)" in line
    assert "write null" in line


def test_whole_pixels_that_meet_by_chance_are_no_placeholders(tmp_path):
    points = ladder(300).round()
    _, counts = np.unique(points[:, 0], axis=0, return_counts=True)
    assert counts.max() > 10  # in one of about 70 pixels each
    assert not check_dataset(dict(train=dataset(tmp_path / "t", points)))["summary"].get("placeholder")


def test_fractions_of_the_image(tmp_path):
    points = ladder() / (119, 179)
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    assert [(f["check"], f["sample_id"], f["severity"]) for f in report["findings"]] == [
        ("fractions", "", "error")
    ]
    some = ladder()
    some[[3, 8]] /= (119, 179)
    report = check_dataset(dict(train=dataset(tmp_path / "s", some)))
    assert found(report) == {("fractions", "s3"), ("fractions", "s8")}
    assert not any("in steps" in f["message"] for f in report["findings"])


def test_fractions_that_are_too_coarse_to_become_pixels(tmp_path):
    points = ladder()
    points[3] = (points[3] / (119, 179)).round(1)
    points[8] = (points[8] / (119, 179)).round(3)
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    messages = {f["sample_id"]: f["message"] for f in report["findings"] if f["check"] == "fractions"}
    assert "in steps of 0.1, which are 18 px: annotate anew" in messages["t3"]
    assert messages["t8"] == "all coordinates lie between 0 and 1"


@pytest.mark.parametrize(("most", "check"), [(0.3, "y from the bottom"), (1.5, "mirrored shape")])
def test_an_exchange_that_looks_like_a_mirror_image_is_named(most, check):
    rng = np.random.default_rng(0)
    points = np.empty((40, 5, 2))
    for n, turn in enumerate(rng.uniform(-most, most, 40)):
        cross = np.array([[130, 0], [-130, 0], [0, 90], [0, -90], [0, 0]]) + rng.normal(0, 1.5, (5, 2))
        points[n] = cross @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] + (320, 240)
    points[7, [2, 3]] = points[7, [3, 2]]
    data = Annotations(
        "crosses", LandmarkSchema.numbered(5), points, np.tile([640.0, 480.0], (40, 1)), np.ones(40)
    ).dataset()
    (finding,) = check_dataset(dict(train=data))["findings"]
    assert (finding["check"], finding["sample_id"], finding["landmarks"]) == (check, "7", [2, 3])
    assert ", or when landmark 2" in finding["message"]
    assert finding["message"].endswith("change places")


def test_a_mirror_image_that_no_exchange_explains_names_no_landmark(tmp_path):
    points = ladder()
    points[3] = points[3] * [-1, 1] + [119, 0]
    assert of_check(check_dataset(dict(train=dataset(tmp_path / "t", points))), "mirrored shape") == {("t3",)}


def test_landmarks_that_nobody_annotated(tmp_path):
    train, test = ladder(12, 0), ladder(12, 1)
    train[:, 3], train[2:, 5] = np.nan, np.nan
    splits = dict(train=dataset(tmp_path / "a", train), test=dataset(tmp_path / "b", test))
    report = check_dataset(splits)
    assert of_check(report, "landmark never annotated") == {("", 3)}
    assert of_check(report, "rarely annotated") == {("", 5)}
    never = next(f for f in report["findings"] if f["check"] == "landmark never annotated")
    assert never["severity"] == "error"
    assert "landmark 3 (right1) is annotated in none of the 12 samples of 'train'" in never["message"]
    empty = dataset(tmp_path / "c", np.full((5, 12, 2), np.nan))
    report = check_dataset(dict(train=empty, test=splits["test"]))
    assert of_check(report, "nothing annotated") == {("",)}


def test_findings_come_worst_first(tmp_path):
    points = ladder()
    points[3, [4, 5]], points[8, 1], points[9, 11] = points[3, [5, 4]], (0, 0), (60, 3000)
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    severities = [f["severity"] for f in report["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {("placeholder", "t8"), ("far outside", "t9"), ("left-right swap", "t3")} <= found(report)


def test_a_budget_opens_no_file_after_it_is_spent(tmp_path):
    data = dataset(tmp_path / "t", ladder())
    report = check_dataset(dict(train=data), budget=0.0)
    skipped = ["sizes of images", "whether image files are equal"]
    assert report["left_out"] == [f"{what}, for lack of time" for what in skipped]
    assert report["splits"]["train"]["image_size"] == {"x": None, "y": None}
    assert check_dataset(dict(train=data), budget=60.0)["left_out"] == []


def test_parts_of_a_concatenation_are_one_split(tmp_path):
    data = dataset(tmp_path / "t", ladder())
    report = check_dataset({"train[0]": data, "train[1]": data})
    assert not [check for check in report["summary"] if "leak" in check]
    report = check_dataset(dict(val=data, test=data))
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"warning"}


def test_few_records_teach_nothing(tmp_path):
    points = ladder(9)
    points[3, [4, 5]] = points[3, [5, 4]]
    assert check_dataset(dict(train=dataset(tmp_path / "t", points)))["findings"] == []


def test_missing_landmarks_are_counted_and_disturb_nothing(tmp_path):
    points = ladder()
    points[:20, 3] = np.nan
    points[5] = np.nan
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    assert report["findings"] == []
    split = report["splits"]["train"]
    assert (split["missing_landmarks"], split["samples_without_landmarks"]) == (31, 1)
    assert report["landmarks"][3]["annotated"] == 10


def test_spacing(tmp_path):
    spacing = [0.1] * 30
    spacing[4], spacing[9] = None, 1.0
    results = found(check_dataset(dict(train=dataset(tmp_path / "t", ladder(), spacing=spacing))))
    assert results == {("spacing", "t4"), ("spacing", "t9")}


def test_leaks_between_splits(tmp_path):
    train = dataset(tmp_path / "a", ladder(12, 0), group=[f"p{n}" for n in range(12)])
    test = dataset(tmp_path / "b", ladder(12, 1), group=[f"p{n + 11}" for n in range(12)])
    (tmp_path / "b" / "b5.png").write_bytes((tmp_path / "a" / "a2.png").read_bytes())
    report = check_dataset(dict(train=train, test=test))
    # Images of one number are equal by construction, so that all of these leak, and b5 equals a2 instead.
    leaks = {(f["check"], f["sample_id"]) for f in report["findings"] if f["check"] == "group leak"}
    assert leaks == {("group leak", "a11"), ("group leak", "b0")}
    images = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert {"a2", "b5"} <= images
    assert "a5" not in images
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"error"}


def test_missing_and_broken_images(tmp_path):
    data = dataset(tmp_path / "t", ladder(4))
    (tmp_path / "t" / "t1.png").unlink()
    (tmp_path / "t" / "t2.png").write_bytes(b"no image")
    assert found(check_dataset(dict(train=data))) == {("broken image", "t1"), ("broken image", "t2")}


def test_splits_must_have_one_schema(tmp_path):
    data = dataset(tmp_path / "t", ladder(3))
    part = LandmarkDataset("a.json", str(tmp_path / "t"), landmarks=[0, 1])
    with pytest.raises(ValueError, match="split 'test' has other landmarks"):
        check_dataset(dict(train=data, test=part))
    names = list(data.schema.landmarks)
    turned = LandmarkDataset("a.json", str(tmp_path / "t"), landmarks=names[::-1])
    with pytest.raises(ValueError, match=r"another order.*Give the data set of split 'test' landmarks=\["):
        check_dataset(dict(train=data, test=turned))
    with pytest.raises(ValueError, match="no dataset"):
        check_dataset({})


def test_phantoms_have_no_errors():
    report = check_dataset(dict(train=PhantomDataset("spine", num_samples=12)))
    assert not [
        f for f in report["findings"] if f["check"] in ("point outside", "order break", "left-right swap")
    ]


@pytest.mark.parametrize("dims", [2, 3])
def test_alignment_undoes_a_similarity_but_no_mirroring(dims):
    rng = np.random.default_rng(dims)
    target = rng.normal(size=(9, dims))
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    moved = 3.0 * target @ turn + rng.normal(size=dims)
    moved[2] = np.nan
    back = align(moved[None], target).shapes[0]
    assert np.isnan(back[2]).all()
    np.testing.assert_allclose(np.delete(back, 2, 0), np.delete(target, 2, 0), atol=1e-9)
    mirrored = target * ([-1] + [1] * (dims - 1))
    assert np.abs(align(mirrored[None], target).shapes[0] - target).max() > 0.1


def run_check(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        run_command("check", [str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr()


def test_tool_writes_both_reports(tmp_path, capsys):
    points = ladder()
    points[3, [4, 5]] = points[3, [5, 4]]
    dataset(tmp_path / "t", points)
    arguments = ["--ann-file", "a.json", "--data-root", tmp_path / "t", "--out", tmp_path / "out"]
    code, output = run_check(capsys, *arguments)
    assert code == 0
    assert "left-right swap: 1 samples" in output.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["summary"]["left-right swap"] == 1
    assert "### Left-right swap" in (tmp_path / "out" / "report.md").read_text()
    assert run_check(capsys, *arguments, "--fail-on", "warning")[0] == 1
    assert run_check(capsys, *arguments, "--fail-on", "error")[0] == 0
    options = ["--options", "chain=0.999", "shape=1000.0", "landmark=1000.0"]
    assert "nothing was found" in run_check(capsys, *arguments, *options)[1].out


def test_tool_draws_what_it_found_and_fails_on_errors(tmp_path, capsys, monkeypatch):
    points = ladder()
    points[3, [4, 5]], points[8, 2] = points[3, [5, 4]], (0, 0)
    dataset(tmp_path / "t", points)
    monkeypatch.chdir(tmp_path)
    arguments = ["--ann-file", "a.json", "--data-root", "t"]
    code, output = run_check(capsys, *arguments)
    assert code == 1
    assert "1 error, 1 warning (30 in all; schema ladder, 12 landmarks)" in output.out
    folder = tmp_path / "work_dirs" / "check" / "LandmarkDataset_t_a.json"
    report = (folder / "report.md").read_text()
    assert "landmark 2 (left1) at (0.0, 0.0) is a corner of the image" in report
    for picture in ("pictures/all_t3.png", "pictures/all_t8.png", "pictures/points_of_all.png"):
        assert picture in report
        assert cv2.imread(str(folder / picture)).shape[1] > 100
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert "write null (JSON)" in page
    assert run_check(capsys, *arguments, "--fail-on", "never")[0] == 0
    code, output = run_check(capsys, *arguments, "--no-images", "--out", "other")
    assert code == 1
    assert not (tmp_path / "other" / "pictures").exists()


def test_names_in_a_report_are_text(tmp_path):
    report = check_dataset(dict(train=dataset(tmp_path / "t", ladder())))
    finding = dict(
        check="spacing", sample_id="<b>x|y", message="[a](b) <script>", split="a|b", source="", image="",
        severity="warning", advice="x", landmarks=[], score=0.0,
    )  # fmt: skip
    report.update(findings=[finding], severities=dict(error=0, warning=1, note=0))
    page, text = to_html(report, "<title>"), to_markdown(report, "<title>")
    assert "<script>" not in page + text
    assert "<b>" not in page
    assert "&lt;title&gt;" in page
    assert "&lt;title&gt;" in text


def test_tool_reads_the_datasets_of_a_config(tmp_path, capsys):
    dataset(tmp_path / "t", ladder(), split=["train"] * 20 + ["test"] * 10)
    config = tmp_path / "config.py"
    config.write_text(
        f"base = dict(type='LandmarkDataset', ann_file='a.json', data_root={str(tmp_path / 't')!r})\n"
        "pipeline = [dict(type='LoadImage')]\n"
        "part = dict(base, split='train', pipeline=pipeline)\n"
        "repeated = dict(type='RepeatDataset', times=2, dataset=part)\n"
        "train_dataloader = dict(dataset=repeated)\n"
        "val_dataloader = dict(dataset=dict(base, split='test'))\n"
        "test_dataloader = dict(dataset=dict(base, split='test', test_mode=True))\n"
    )
    code, output = run_check(capsys, config, "--out", tmp_path / "out")
    assert code == 0, output.err
    splits = json.loads((tmp_path / "out" / "report.json").read_text())["splits"]
    assert {name: split["samples"] for name, split in splits.items()} == {"train": 20, "val+test": 10}


def test_tool_says_what_is_wrong(tmp_path, capsys):
    code, output = run_check(capsys, "--data-root", tmp_path / "nowhere", "--ann-file", "a.json")
    assert code == 2
    assert "does not exist" in output.err
    code, output = run_check(capsys, "--type", "SpineAasce", "--data-root", tmp_path)
    assert code == 2
    assert "Did you mean SpineAasce2019" in output.err
    assert not (tmp_path / "work_dirs").exists()


@pytest.mark.real_data
def test_known_faults_of_the_spine_labels(real_data):
    report = check_dataset(dict(train=SpineAasce2019(data_root=str(real_data("spine_aasce2019")))))
    counts = report["summary"]
    assert counts["point outside"] == 1
    assert counts["points too close"] == 7
    assert counts["left-right swap"] == 2
    assert counts["order break"] == 62


@pytest.mark.real_data
def test_isbi_has_two_images_in_both_train_and_test(real_data):
    root = str(real_data("isbi2015_ceph"))
    report = check_dataset({s: Isbi2015Cephalogram(data_root=root, split=s) for s in ("train", "test1")})
    leaked = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert leaked == {"038", "283", "144", "173"}
    assert "point outside" not in report["summary"]


def test_y_of_a_volume_goes_to_the_back(tmp_path):
    rng = np.random.default_rng(0)
    points = np.array([[20, 22, 8], [20, 18, 32]]) + rng.normal(0, 0.5, (12, 2, 3))  # the top is in front
    samples = [dict(image=f"{n}.npy", landmarks=p.tolist()) for n, p in enumerate(points)]
    for n in range(12):
        np.save(tmp_path / f"{n}.npy", rng.integers(0, 255, (40, 40, 40)).astype(np.uint8))
    schema = dict(name="v", landmarks=["top", "bottom"], dims=3)
    (tmp_path / "a.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    report = check_dataset(dict(train=LandmarkDataset("a.json", str(tmp_path))))
    assert report["findings"] == []


@pytest.mark.parametrize("kind", ["ceph", "hand", "spine"])
def test_a_file_whose_y_counts_from_the_bottom(kind):
    from mmlandmark.testing.planted_faults import phantom_annotations, replace

    right = phantom_annotations(kind, 30)
    height = right.sizes[:, None, 1:]
    wrong = replace(
        right, points=np.concatenate([right.points[..., :1], height - 1 - right.points[..., 1:]], 2)
    )
    assert not of_check(check_dataset(dict(train=right.dataset())), "y from the bottom")
    report = check_dataset(dict(train=right.dataset(), test=wrong.dataset()))
    assert [
        f["split"] for f in report["findings"] if f["check"] == "y from the bottom" and not f["sample_id"]
    ] == ["test"]


def test_names_tell_what_is_above(tmp_path):
    points = ladder()
    names = [f"{word} {n}" for n in range(6) for word in ("upper", "lower")]
    order = [k for n in range(3) for k in (n, n + 6, n + 3, n + 9)]

    def named(folder, marks):
        data = dataset(tmp_path / folder, marks[:, order])
        path = tmp_path / folder / "a.json"
        path.write_text(
            json.dumps(dict(json.loads(path.read_text()), schema=dict(name="x", landmarks=names)))
        )
        return LandmarkDataset("a.json", data.data_root, missing_images="keep")

    report = check_dataset(dict(train=named("a", points)))
    assert not of_check(report, "y from the bottom")
    report = check_dataset(dict(train=named("b", points * [1, -1] + [0, 179])))
    (finding,) = (f for f in report["findings"] if f["check"] == "y from the bottom")
    assert "'upper 0' lies below 'lower 0'" in finding["message"]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda p: p * [1, -1] + [0, 179], "y from the bottom"),
        (lambda p: p[:, ::-1], "x and y exchanged"),
        (lambda p: p * [-1, 1] + [119, 0], "mirrored shape"),
    ],
)
def test_some_samples_with_other_axes(tmp_path, change, check):
    points = ladder(40)
    points[:, 1::2, 0] += 25 * (points[:, 1::2, 1] > 60)  # not its own mirror image
    for n in (4, 9, 30):
        points[n] = change(points[n])
    report = check_dataset(dict(train=dataset(tmp_path / "t", points)))
    assert {n for n, *_ in of_check(report, check)} == {"t4", "t9", "t30"}
