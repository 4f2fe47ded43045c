"""The laws of docs/architecture.md that can be read off the source."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mmlandmark"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [
    *MODULES,
    *sorted((ROOT / "tools").glob("*.py")),
    ROOT / "setup.py",
    ROOT / "docs" / "make_figures.py",
]
LONGEST_FUNCTION, LONGEST_FILE, LONGEST_TEST, LONGEST_CONFIG = 60, 400, 550, 60

# Modules without a test file of their name, and why.
TESTED_ELSEWHERE = {
    "__main__": "tests/test_cli/test_entry.py runs it",
    "version": "tests/test_docs.py compares it with CITATION.cff",
}


# Files that may hold what looks like a path of one machine, and why.
OF_ONE_MACHINE = {
    ".ci/run": "continuous integration looks there for real images",
    "tests/test_datasets/test_image_paths.py": "a path of another machine in an annotation",
    "tests/test_laws.py": "looks for such paths",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def trees(paths: list[Path]) -> Iterator[tuple[Path, ast.Module]]:
    for path in paths:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_the_sources_are_read():
    assert len(MODULES) > 100, "the sources are not found, so these tests look at nothing"


# ---- imports ----------------------------------------------------------------------------------------------


def floors() -> dict[str, tuple[int, int]]:
    """Return floor and row of every room in the table of the architecture page."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text, re.MULTILINE)
    return {
        room: (int(floor), number)
        for number, (floor, rooms) in enumerate(rows)
        for room in re.findall(r"`(\w+)`", rooms)
    }


def imported_rooms(tree: ast.Module) -> set[str]:
    """Return the rooms of this package that a module imports, at its head or later."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("mmlandmark.")}


def test_imports_run_downwards_as_the_architecture_page_says():
    place = floors()
    rooms = {p.stem for p in PACKAGE.iterdir() if p.name[0] != "_" and (p.is_dir() or p.suffix == ".py")}
    assert set(place) == rooms - {"configs", "detectors", "py"}, (
        "the table of rooms is not that of the package"
    )
    for path, tree in trees(MODULES):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for other in imported_rooms(tree) & set(place) - {room} if room in place else ():
            below = place[other][0] < place[room][0]
            ground = place[other][0] == place[room][0] == 1 and place[other][1] < place[room][1]
            assert below or ground, f"{relative(path)}: {room} imports {other}, which does not lie below it"


def test_the_package_itself_is_light():
    ((_, tree),) = trees([PACKAGE / "__init__.py"])
    assert imported_rooms(tree) == {"version"}


def test_no_method_is_known_by_name_outside_its_own_files():
    own = {"hooks/teacher_hook.py", "hooks/teacher_loading.py", "hooks/__init__.py"}
    # Teachers of self-training: an average of the weights, and a judge of labels.
    own |= {"hooks/pseudo_label_hook.py", "teacher_score.py", "__init__.py"}
    own = {f"engine/{name}" for name in own}
    own |= {"testing/kill_methods.py"}  # the list of all methods
    knowing = [
        relative(path)
        for room in ("engine", "apis", "utils", "cli", "testing")
        for path in (PACKAGE / room).rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in own
        and re.search("teacher|distill", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert knowing == []


# ---- tests mirror the package -----------------------------------------------------------------------------


def test_every_module_has_a_test_file_of_its_name():
    missing = set()
    for path in MODULES:
        folder, *parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = f"test_{path.stem}.py"
        files = (ROOT / "tests" / f"test_{folder}").rglob(name) if parts else (ROOT / "tests").glob(name)
        if path.stem != "__init__" and not any(files):
            missing.add("/".join([folder, *parts]))
    assert missing == set(TESTED_ELSEWHERE)


# ---- size and documentation -------------------------------------------------------------------------------


def test_files_and_functions_are_short():
    files = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    functions = {
        f"{relative(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in trees(SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in files.items() if count > LONGEST_FILE} == {}
    assert {name: count for name, count in functions.items() if count > LONGEST_FUNCTION} == {}


def test_test_files_are_short():
    long = {
        relative(path): count
        for path in (ROOT / "tests").rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_TEST
    }
    assert long == {}


def undocumented(tree: ast.AST, where: str) -> Iterator[str]:
    """Yield the public classes, functions and methods without a docstring."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            if not ast.get_docstring(node) and not any(
                isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list
            ):
                yield f"{where}.{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node, f"{where}.{node.name}")


def test_everything_public_is_documented():
    silent = [relative(path) for path, tree in trees(SOURCES) if not ast.get_docstring(tree)]
    silent += [name for path, tree in trees(SOURCES) for name in undocumented(tree, relative(path))]
    assert silent == []


# ---- configs ----------------------------------------------------------------------------------------------


def bases(path: Path) -> list[Path]:
    """Return the files that a config names as its ``_base_``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_base_":
            given = ast.literal_eval(node.value)
            return [path.parent / name for name in ([given] if isinstance(given, str) else given)]
    return []


def depth(path: Path) -> int:
    return 1 + max((depth(base) for base in bases(path)), default=-1)


def test_configs_are_short():
    configs = sorted((ROOT / "configs").rglob("*.py"))
    assert max(map(depth, configs)) in (1, 2)
    leaves = [path for path in configs if "_base_" not in path.parts]
    long = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in leaves}
    assert {name: count for name, count in long.items() if count > LONGEST_CONFIG} == {}


# ---- the project speaks of itself -------------------------------------------------------------------------


def test_no_file_names_a_path_of_some_machine():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    strange = re.compile(r"(?<![\w.~-])/(?:home|work|Users|root|mnt)/\w|\.\./shared")
    for name in done.stdout.splitlines():
        path = ROOT / name
        if name in OF_ONE_MACHINE or path.suffix in (".png", ".npz", ".pth") or not path.is_file():
            continue
        found = strange.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{name}: {found[0]!r}"
