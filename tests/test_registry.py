"""A config names classes; a name that is missing gets an error that helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine import registry as mmengine_registry

from mmlandmark import registry
from mmlandmark.registry import CODECS, MODELS, NotRegisteredError, UnknownArgumentError

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_asking_for_a_name_imports_the_rooms():
    code = (
        "import sys\n"
        "from mmlandmark.registry import MODELS\n"
        "assert not [name for name in sys.modules if name.startswith('mmlandmark.models')]\n"
        "print(MODELS.get('UNet').__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "mmlandmark.models.backbones.unet"


def test_a_dotted_path_needs_no_registration():
    assert CODECS.get("collections.OrderedDict").__name__ == "OrderedDict"


def test_a_missing_name_lists_the_nearest():
    assert issubclass(NotRegisteredError, KeyError)
    with pytest.raises(NotRegisteredError, match=r"^'UNett' is not in .*'model'.* Did you mean UNet"):
        MODELS.get("UNett")
    with pytest.raises(NotRegisteredError, match=r"Registered here: .*GaussianHeatmapCodec"):
        CODECS.get("Zzzzzz")


def test_a_dotted_path_that_cannot_be_imported_says_why():
    with pytest.raises(NotRegisteredError, match=r"Importing 'no_such_package' failed: ModuleNotFoundError"):
        MODELS.get("no_such_package.Loss")


def test_an_unknown_argument_lists_the_nearest():
    with pytest.raises(UnknownArgumentError, match=r"UNet got .* 'width'.*; did you mean 'widths'\?"):
        MODELS.build(dict(type="UNet", in_channels=1, width=(8, 16)))
    error = TypeError("something else")
    assert MODELS.explained(dict(type="UNet"), error) is error


@pytest.mark.slow
def test_a_plugin_that_cannot_be_imported_is_reported(tmp_path):
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[mmlandmark.plugins]\nmine = broken_plugin\n")
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no such device')")
    code = "from mmlandmark.registry import MODELS\nMODELS.get('MyLoss')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}"),
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    assert "'MyLoss' is not in the mmlandmark registry" in last
    assert "plugin mine (broken_plugin): RuntimeError('no such device')" in last


def test_every_registry_is_a_child_of_mmengines():
    children = [r for r in vars(registry).values() if isinstance(r, registry.Registry) and r.parent]
    assert len(children) >= 14
    for child in children:
        assert child.parent in vars(mmengine_registry).values()
        assert child.scope == "mmlandmark"


def test_mmengine_finds_our_child_wherever_a_run_builds_from():
    """Without one it builds all the same, and warns of a registry that it cannot find in this scope."""
    others = {"RUNNERS", "RUNNER_CONSTRUCTORS", "STRATEGIES", "TASK_UTILS", "INFERENCERS", "FUNCTIONS"}
    lacking = {
        name
        for name, root in vars(mmengine_registry).items()
        if isinstance(root, mmengine_registry.Registry) and root._search_child("mmlandmark") is None
    }
    assert lacking == others


@pytest.mark.parametrize("name", ["this.json", "this.PNG", "../this.Layer", "my-script.Layer", "this."])
def test_what_is_no_dotted_path_is_not_imported(name):
    """Data may hold the names of files wherever a registry looks a plain name up, as for a decoder."""
    with pytest.raises(NotRegisteredError, match="is no dotted path of a class"):
        registry.DECODERS.get(name)
    assert "this" not in sys.modules
