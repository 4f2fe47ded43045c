"""What README and docs say is true: commands, links, paths, options, examples."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import mmlandmark
from mmlandmark.cli import COMMANDS
from mmlandmark.cli.entry import invoke, make_parser, parse_arguments
from mmlandmark.datasets import transforms
from mmlandmark.datasets.annotation_files import read_annotations
from mmlandmark.engine import load_config, plan_of_stages
from mmlandmark.evaluation import CoverageReport, LandmarkReport
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.structures.measure_definitions import DERIVED, MEASURES
from mmlandmark.testing.abnormal_landmarks import to_markdown

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "configs/README.md",
        "csrc/README.md",
    )
]
PAGES += [*sorted((ROOT / "configs").glob("*/README.md")), *sorted((ROOT / "docs").glob("*.md"))]
ANNOTATORS_OWN = "configs/mine/"  # files that a page tells its annotator to write
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command in the bash blocks, without variables set in front of it."""
    lines = [line for text in blocks(page, "bash") for line in text.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines]
    for words in found:
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
    return [words for words in found if words]


def environment() -> dict[str, str]:
    """Return the environment of a child process that finds this package."""
    return dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", MPLBACKEND="agg")


def check_command(name: str, arguments: list[str]) -> None:
    """Fail unless ``mmlandmark`` has the command and it takes these arguments."""
    assert name in COMMANDS, f"there is no mmlandmark {name}"
    given = parse_arguments(name, arguments)  # SystemExit where one does not fit
    if name == "launch":
        check_command(given.command, given.arguments)
    for word in arguments:
        if word.startswith("configs/") and not word.startswith(ANNOTATORS_OWN):
            assert (ROOT / word).exists(), f"there is no {word}"


def check_script(script: str, options: list[str]) -> None:
    """Fail unless the script exists and its help names these options."""
    command = [sys.executable, str(ROOT / script), "--help"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert set(options) <= set(re.findall(r"--[a-z][a-z-]*", done.stdout)), f"{script} has no such options"


def check_make(arguments: list[str]) -> None:
    """Fail unless make has the targets and uses the variables."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    scripts = makefile + (ROOT / "tools" / "install.sh").read_text(encoding="utf-8")
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert re.search(rf"\$[({{]{name}\b", scripts), f"nothing reads {name}"
        else:
            assert word in targets, f"make has no target {word}"


def check_pip(arguments: list[str]) -> None:
    """Fail unless the extras of an editable install exist."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for extras in re.findall(r"\.\[([a-z,]+)\]", " ".join(arguments)):
        for extra in extras.split(","):
            assert f'"{extra}": [' in setup, f"setup.py has no extra {extra}"


@pages
def test_commands_exist_and_take_their_options(page):
    for command, *arguments in commands(page):
        if command == "mmlandmark":
            check_command(arguments[0], arguments[1:])
        elif command == "python":
            check_script(arguments[0], [word for word in arguments if word.startswith("--")])
        elif command == "make":
            check_make(arguments)
        elif command == "tools/dist_train.sh":
            assert (ROOT / command).is_file()
            check_command("train", [arguments[0], *arguments[2:]])
        elif command.startswith((".ci/", "tools/")):
            assert os.access(ROOT / command, os.X_OK), f"{command} cannot be run"
        elif command == "pip":
            check_pip(arguments)
        else:
            assert command in ("source", "export", "pre-commit", "until", "[", "do"), (
                f"nobody checks {command!r}: teach this test"
            )


def test_commands_are_found():
    assert ["make", "demo"] in commands(ROOT / "README.md")
    assert any(words[:2] == ["mmlandmark", "train"] for words in commands(ROOT / "README.md"))


def slugs(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_and_pictures_resolve(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        assert ROOT in (path, *path.parents), f"{target} leaves the repository"
        assert not anchor or anchor in slugs(path), f"{path.name} has no heading #{anchor}"


@pages
def test_paths_mentioned_exist(page):
    folders = "configs|docs|mmlandmark|requirements|tests|tools"
    for found in re.finditer(rf"(?<![\w/.-])(?:{folders})/[\w./-]*", page.read_text(encoding="utf-8")):
        name, following = found[0].rstrip("."), found.string[found.end() : found.end() + 1]
        if following in ("<", "*", "{"):  # a pattern: its folder must exist
            name = name.rpartition("/")[0]
        if not name.startswith(ANNOTATORS_OWN):
            assert (ROOT / name).exists(), f"there is no {name}"


RUN_EXAMPLES = """
import doctest, json, sys, traceback
from types import ModuleType
failures = {}
for page, examples in json.load(sys.stdin).items():
    module = ModuleType("example")
    sys.modules["example"] = module  # pickling and registries look classes up by their module
    for number, text in enumerate(examples, 1):
        try:
            if ">>>" in text:
                test = doctest.DocTestParser().get_doctest(text, vars(module), page, page, 0)
                said = []
                result = doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
                if result.failed:
                    raise AssertionError("".join(said))
                vars(module).update(test.globs)
            else:
                exec(compile(text, page, "exec"), vars(module))
        except BaseException:
            failures[f"{page}, block {number}"] = traceback.format_exc()
print("RESULT" + json.dumps(failures))
"""


def test_python_examples_run():
    examples = {str(page.relative_to(ROOT)): blocks(page, "python") for page in PAGES}
    assert sum(map(len, examples.values())) > 10, "the examples are not found, so this test looks at nothing"
    done = subprocess.run(
        [sys.executable, "-c", RUN_EXAMPLES],
        input=json.dumps(examples),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    failures = json.loads(done.stdout.rpartition("RESULT")[2])
    assert not failures, "\n".join(f"{name}: {error}" for name, error in failures.items())


@pages
def test_examples_of_configs_load(page, tmp_path):
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    for folder in (path for path in (ROOT / "configs").iterdir() if path.is_dir()):
        (tmp_path / "configs" / folder.name).symlink_to(folder)
    for number, text in enumerate(blocks(page, "python")):
        if text.startswith("_base_"):
            path = tmp_path / "configs" / "mine" / f"example{number}.py"
            path.write_text(text)
            config = load_config(path)
            assert issubclass(MODELS.get(config.model.type), BaseDetector)
            if config.get("stages"):
                assert len(plan_of_stages(config, tmp_path).children) == len(config.stages)


def test_json_example_of_the_datasets_page_can_be_read(tmp_path):
    text, schema = blocks(ROOT / "docs" / "datasets.md", "json")
    found = LandmarkSchema.from_dict(json.loads(schema))
    assert set(json.loads(schema)) == set(LandmarkSchema.__dataclass_fields__)
    assert found.links[2] == (0, 3)
    path = tmp_path / "annotations.json"
    path.write_text(text)
    (record,) = read_annotations(str(path)).records
    assert np.asarray(record["landmarks"]).shape == (3, 2)


def test_the_measures_page_names_all_that_is_shipped():
    page = ROOT / "docs" / "measures.md"
    (example,) = blocks(page, "json")
    assert len(LandmarkSchema.from_dict(json.loads(example)).measures) == 4
    text = page.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|", text, re.MULTILINE))
    assert set(rows) >= set(MEASURES) | set(DERIVED) | {
        key for _, _, keys in MEASURES.values() for key in keys
    } - {
        "minus",
        "sign_along",
    }
    shipped = text.partition("## Shipped measures")[2].partition("##")[0]
    for name in LandmarkSchema.shipped():
        for measure in LandmarkSchema.load(name).measures:
            assert re.search(rf"[|,] {re.escape(measure['name'])} ?[|,]", shipped), (name, measure["name"])
            for limit in [c.get("below", c.get("to")) for c in measure.get("classes", ())][:-1]:
                assert f" {limit}" in shipped, (measure["name"], limit)


def test_the_example_of_the_readme_trains_and_tests(tmp_path, monkeypatch):
    """Its JSON, its config and its commands, word by word, but for one epoch."""
    monkeypatch.chdir(tmp_path)
    readme = ROOT / "README.md"
    (annotations,), (config,) = blocks(readme, "json"), blocks(readme, "python")
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    (tmp_path / "configs" / "_base_").symlink_to(ROOT / "configs" / "_base_")
    (tmp_path / "configs" / "mine" / "unet_knee_160x128.py").write_text(config)
    images = tmp_path / "data" / "mine" / "images"
    images.mkdir(parents=True)
    (images.parent / "annotations.json").write_text(annotations)
    rng = np.random.default_rng(0)
    for sample in json.loads(annotations)["samples"]:
        cv2.imwrite(str(images / sample["image"]), rng.integers(255, size=(500, 520), dtype=np.uint8))
    mine = [words for words in commands(readme) if any(ANNOTATORS_OWN in word for word in words)]
    assert [words[1] for words in mine] == ["check", "browse", "train", "test"]
    for _, command, *arguments in mine:
        short = ["--cfg-options", "train_cfg.max_epochs=1", "train_cfg.val_interval=1"] * (command == "train")
        assert not invoke(command, [*arguments, *short]), command
    report = (tmp_path / "work_dirs" / "unet_knee_160x128" / "test" / "report.md").read_text()
    assert "Errors in mm" in report
    assert "fibula" in report


def test_pictures_come_from_the_script(tmp_path):
    script = ROOT / "docs" / "make_figures.py"
    subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path), "--height", "96"], env=environment(), check=True
    )
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (ROOT / "docs" / "images").iterdir()}
    assert all(cv2.imread(str(tmp_path / name)) is not None for name in drawn)


def test_the_coverage_on_its_page_is_that_of_the_record():
    page = (ROOT / "docs" / "uncertainty.md").read_text(encoding="utf-8")
    report = CoverageReport.read(ROOT / "docs" / "coverage" / "isbi2015_test1.json")
    assert report.to_markdown() in page


def test_abnormal_landmarks_on_their_page_are_those_of_the_record():
    page = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / "docs" / "shapes" / "abnormal.json").read_text(encoding="utf-8"))
    assert to_markdown([row for row in record["rows"] if "phantoms" not in row["data"]]) in page
    assert f"--seeds {record['seeds']}" in page
    most = {row["data"]: (row["learnt"], row["held_out"]) for row in record["rows"]}
    assert (most["hands"], most["cephalograms"]) == ((600, 295), (150, 150))
    assert "600 of the 895 hands" in page
    assert "the other 295 held out, of 300 cephalograms 150 and 150" in page


def table(page: str, columns: int) -> list[list[str]]:
    """Return the cells of all table rows of a page that have this many columns."""
    rows = re.findall(r"^\| (.+) \|$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [cells for cells in (re.split(r"\s\|\s", row) for row in rows) if len(cells) == columns]


def test_every_transform_is_listed_with_its_arguments():
    listed = {
        row[0].strip("`"): row[1].strip("`") for row in table("docs/augmentation.md", 3) if row[0][0] == "`"
    }
    assert set(listed) == set(transforms.__all__) - {"LoadImage", "PackInputs"}
    for name, arguments in listed.items():
        signature = inspect.signature(getattr(transforms, name))
        written = ast.parse(f"def f({arguments}): pass").body[0].args
        assert [a.arg for a in written.args] == list(signature.parameters), name
        defaults = [
            p.default for p in signature.parameters.values() if p.default is not inspect.Parameter.empty
        ]
        assert [ast.literal_eval(d) for d in written.defaults] == defaults, name


def test_every_metric_key_is_explained():
    report = LandmarkReport.from_errors(np.ones((2, 3)), "abc", unit="px", radii=(4,))
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    generic = {"sdr_4px": "sdr_<radius><unit>", "outliers_4px": "outliers_<radius><unit>"}
    assert [key for key in report.scalars if f"`{generic.get(key, key)}`" not in text] == []


def test_every_option_of_train_and_variable_of_configs_is_explained():
    options = set(re.findall(r"--[a-z][a-z-]*", make_parser("train").format_help())) - {"--help"}
    page = (ROOT / "docs" / "configs_and_stages.md").read_text(encoding="utf-8")
    assert {o for o in options if f"| `{o}` |" not in page} == set()
    variables = {
        found for path in (ROOT / "configs").rglob("*.py")
        for found in re.findall(r"\{\{\$(\w+):([^}]+)\}\}", path.read_text(encoding="utf-8"))
    }  # fmt: skip
    assert variables
    assert {(n, d) for n, d in variables if f"| `{n}` | `{d}` |" not in page} == set()


def test_versions_and_pins_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == mmlandmark.__version__
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0][
        "hooks"
    ]
    pins = {pin for hook in hooks for pin in hook["additional_dependencies"]}
    assert all("==" in pin for pin in pins)
    developed = (ROOT / "requirements" / "develop.txt").read_text(encoding="utf-8").split()
    for pin in pins:
        same = [line for line in developed if line.split("==")[0] == pin.split("==")[0]]
        assert same in ([], [pin]), f".pre-commit-config.yaml has {pin}, requirements/develop.txt {same}"


def test_templates_and_workflow_can_be_read():
    files = sorted((ROOT / ".github").rglob("*.yml"))
    assert {path.stem for path in files} >= {"bug", "feature", "docs", "ci"}
    content = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    for name in ("bug", "feature", "docs"):
        assert {"name", "description", "body"} <= set(content[name])
    steps = [s for job in content["ci"]["jobs"].values() for s in job["steps"]]
    assert any(step.get("run") == ".ci/run" for step in steps)


def messages() -> list[str]:
    """Return all strings in the package and the Makefile; a value that is filled in is one word."""
    found = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    for path in (ROOT / "mmlandmark").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(v.value if isinstance(v, ast.Constant) else "mmlandmark" for v in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_of_the_troubleshooting_page_exist():
    """What the page quotes is what a user searches for: every fixed part of it is in some message."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    heads = re.findall(r"^\*\*(`.+?)\*\*", text.replace("\n", " ").replace("  **", "\n**"), re.MULTILINE)
    quotes = {quote for head in heads for quote in re.findall(r"`([^`]+)`", head)}
    assert len(quotes) > 30
    of_others = ("ImportError", "No module named", "pip install", "No space left on device")
    known = "\n".join(messages())
    missing = [
        f"{part!r} of {quote!r}"
        for quote in sorted(quotes)
        if not quote.startswith(of_others)
        for part in re.split(r"\.\.\.|'[^']*'|\b\d+\b|\([^)]*\)|[;:,]", quote)
        if " " in part.strip() and part.strip() not in known
    ]
    assert not missing, f"docs/troubleshooting.md quotes messages that nothing prints: {missing}"
