"""Nothing in the package or its tools loads a file in a way that could run code in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "mmlandmark").rglob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]

# Modules whose loaders run code in a file, and functions that run text or start programs.
MODULES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle",
    "runpy", "pandas", "code", "codeop", "telnetlib", "xmlrpc", "xml.etree", "xml.dom", "xml.sax", "lxml",
}  # fmt: skip
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "importlib.import_module",
    "importlib.__import__", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.full_load_all",
    "yaml.unsafe_load_all", "mmengine.load", "mmengine.fileio.load", "mmengine.config.Config.fromfile",
    "mmengine.config.Config.fromstring", "mmengine.Config.fromfile", "torch.hub.load",
    "torch.hub.load_state_dict_from_url", "torch.jit.load", "torch.export.load",
    "torch.package.PackageImporter", "torch.utils.model_zoo.load_url", "numpy.lib.format.read_array",
    "numpy.fromregex", "tempfile.mktemp", "shutil.unpack_archive", "urllib.request.urlopen",
    "urllib.request.urlretrieve", "requests.get",
}  # fmt: skip
# Loaders that are safe with one argument only: the argument, and what it must be.
SAFE_WITH = {
    "torch.load": ("weights_only", ("True",)),
    "numpy.load": ("allow_pickle", ("False",)),
    "yaml.load": ("Loader", ("yaml.SafeLoader", "yaml.CSafeLoader", "_DataLoader")),
}
# Where such a thing is meant, and why that is safe; below mmlandmark/.
MEANT = {
    "engine/config.py: mmengine.config.Config.fromfile": "Python configs that the user names",
    "engine/plain_config.py: mmengine.config.Config.fromfile": "configs that come with the package",
    "engine/mmengine_cures.py: importlib.import_module": "packages by fixed names",
    "registry.py: importlib.import_module": "our own rooms, and dotted paths that mmlandmark.trust let pass",
    "ops/backend.py: importlib.import_module": "our own extension",
    "cli/entry.py: importlib.import_module": "our own commands, by a fixed list",
    "datasets/readers/volume.py: importlib.import_module": "optional packages by fixed names",
    "testing/op_contenders.py: importlib.import_module": "packages to compare with, by fixed names",
    "testing/kills.py: importlib.import_module": "our own commands",
    "testing/kill_methods.py: importlib.import_module": "our own commands and plans",
    "testing/attacks.py: importlib.import_module": "our own commands",
    "testing/file_places.py: importlib.import_module": "our own commands",
    "datasets/sample_store.py: pickle": "memory of this process and its forks, no file",
    "testing/fuzz_models.py: importlib.import_module": "our own sweeps",
    "testing/malicious_files.py: pickle": "writes what must not be loaded",
    "cli/gpu_day.py: importlib.import_module": "torch",
    "cli/gpu_day.py: xml.etree": "reads the report that its own pytest wrote",
    "inference/export/formats.py: torch.export.load": "reads what it has just written",
    "utils/downloads.py: urllib.request.urlopen": "a URL that the user names",
    "utils/file_backends.py: urllib.request.urlopen": "parts of a file at a URL that the user names",
    "utils/xml_text.py: xml.sax": "escapes text, reads nothing",
}


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return the full name of what an expression refers to, by the imports of its module."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, names)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def imports(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield (name in the module, full name, line) of everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known = alias.name if alias.asname else alias.name.split(".")[0]
                yield alias.asname or known, known if not alias.asname else alias.name, node.lineno
                yield "", alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}", node.lineno


def dangers(text: str) -> Iterator[tuple[str, int]]:
    """Yield (what, line) of all that could run code in a file, or reach for a network."""
    tree = ast.parse(text)
    found = list(imports(tree))
    names = {short: full for short, full, _ in found if short}
    for _, full, line in found:
        module = next((m for m in MODULES if full == m or full.startswith(f"{m}.")), None)
        if module is not None:
            yield module, line
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, names)
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in SAFE_WITH:
            argument, safe = SAFE_WITH[name]
            given = keywords.get(argument)
            if argument == "Loader" and given is None and len(node.args) > 1:
                given = ast.unparse(node.args[1])
            if given not in safe:
                yield name, node.lineno
        elif name in CALLS:
            yield str(name), node.lineno
        elif name is not None and name.endswith((".extractall", ".extract")):
            yield name.rsplit(".", 1)[1], node.lineno
        if keywords.get("shell", "False") != "False":
            yield "shell=True", node.lineno


def test_nothing_runs_code_from_files():
    found, meant = [], set()
    for path in SOURCES:
        file = path.relative_to(ROOT).as_posix()
        for what, line in dangers(path.read_text(encoding="utf-8")):
            known = f"{file.removeprefix('mmlandmark/')}: {what}"
            if known in MEANT:
                meant.add(known)
            else:
                found.append(f"{file}:{line}: {what}")
    assert not found, "\n".join(sorted(set(found)))
    assert meant == set(MEANT), "an exception that nothing needs any more"
    assert len(SOURCES) > 300


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle\npickle.load(f)", "pickle"),
        ("from pickle import load\nload(f)", "pickle"),
        ("import joblib as j", "joblib"),
        ("import xml.etree.ElementTree as tree", "xml.etree"),
        ("import torch\ntorch.load(f)", "torch.load"),
        ("from torch import load\nload(f, weights_only=False)", "torch.load"),
        ("import torch\ntorch.load(f, weights_only=safe)", "torch.load"),
        ("import numpy as np\nnp.load(f)", "numpy.load"),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", "numpy.load"),
        ("import yaml\nyaml.load(f, yaml.Loader)", "yaml.load"),
        ("import yaml\nyaml.load(f)", "yaml.load"),
        ("import yaml\nyaml.unsafe_load(f)", "yaml.unsafe_load"),
        ("eval(text)", "eval"),
        ("exec(text)", "exec"),
        ("import os\nos.system(text)", "os.system"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "shell=True"),
        ("from mmengine.config import Config\nConfig.fromfile(f)", "mmengine.config.Config.fromfile"),
        ("import importlib\nimportlib.import_module(f)", "importlib.import_module"),
        ("import zipfile\nzipfile.ZipFile(f).extractall()\na.b.extractall(p)", "extractall"),
    ],
)
def test_what_is_found(text, what):
    assert what in {name for name, _ in dangers(text)}


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "import yaml\nyaml.load(f, _DataLoader)\nyaml.safe_load(f)",
        "import ast\nast.literal_eval(text)",
        "import re\nre.compile(text)\nmodel.eval()\nmodel.compile()",
        "import subprocess\nsubprocess.run(['git'])",
    ],
)
def test_what_is_not(text):
    assert list(dangers(text)) == []
