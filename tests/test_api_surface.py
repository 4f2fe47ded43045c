"""Public names are a promise: they change on purpose or not at all.

MMLANDMARK_UPDATE_API_SURFACE=1 pytest tests/test_api_surface.py
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
from pathlib import Path

import pytest

import mmlandmark
from mmlandmark.utils.files import atomic_write_json

SURFACE = Path(__file__).with_name("api_surface.json")
UPDATE = "MMLANDMARK_UPDATE_API_SURFACE"


def rooms() -> dict[str, list[str]]:
    """Return the public names of the package and of every room in it, sorted."""
    names = ["mmlandmark"]
    names += [m.name for m in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark.") if m.ispkg]
    found = {name: getattr(importlib.import_module(name), "__all__", None) for name in names}
    return {name: sorted(public) for name, public in found.items() if public is not None}


def test_public_names_change_on_purpose():
    current = rooms()
    if os.environ.get(UPDATE):
        atomic_write_json(SURFACE, current)
    recorded = json.loads(SURFACE.read_text(encoding="utf-8"))
    lost = [f"{r}.{n}" for r, names in recorded.items() for n in names if n not in current.get(r, ())]
    new = [f"{r}.{n}" for r, names in current.items() for n in names if n not in recorded.get(r, ())]
    assert current == recorded, (
        f"public names changed. Gone: {lost or 'none'}. New: {new or 'none'}. If that is meant, say so in "
        f"CHANGELOG.md (what is gone breaks other people's code), run "
        f"{UPDATE}=1 pytest tests/test_api_surface.py, and commit {SURFACE.name}."
    )


@pytest.mark.parametrize("room", sorted(rooms()))
def test_public_names_exist_and_are_documented(room):
    module = importlib.import_module(room)
    for name in rooms()[room]:
        value = getattr(module, name)  # AttributeError: it is listed but not there
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f"{room}.{name} has no docstring"


def test_rooms_without_a_list_have_nothing_public():
    for info in pkgutil.walk_packages(mmlandmark.__path__, "mmlandmark."):
        if info.ispkg and info.name not in rooms():
            module = importlib.import_module(info.name)
            own = [
                n
                for n, v in vars(module).items()
                if not n.startswith("_") and getattr(v, "__module__", None) == info.name
            ]
            assert own == [], f"{info.name} defines {own} but has no __all__"
