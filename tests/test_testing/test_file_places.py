"""No argument of a command or of a registered class that names a file is forgotten."""

from __future__ import annotations

import inspect
import re

import pytest

from mmlandmark import registry
from mmlandmark.cli.entry import COMMANDS, make_parser
from mmlandmark.testing.file_places import (
    BASE,
    DATASET_FILES,
    NO_FILES,
    WRITTEN,
    config_keys,
    make_site,
    places,
    run_inputs,
)

# Arguments of registered classes that sound like files and are none, or are written.
NOT_READ = {
    "with_checkpoint": "saves memory", "num_templates": "a number", "template_view": "a view",
    "outside_root": "a switch", "file_spacing": "a switch", "image_cache": "a folder to write to",
    "out_file": "written", "predictions_file": "written", "collect_dir": "a folder to write to",
    "save_dir": "a folder to write to",
    "cache_dir": "what it holds is checked by its hash", "cache_gb": "a number",
    "labeller": "among the keys of a config", "template": "among the keys of a config",
}  # fmt: skip
SOUNDS = re.compile(
    "file|path|checkpoint|ckpt|folder|dir|root|schema|^ids$|labeller|template|cache|load_from"
)


def test_every_command_is_attacked_or_reads_no_file():
    assert set(BASE) | set(NO_FILES) == set(COMMANDS)
    assert not set(BASE) & set(NO_FILES)
    known = {place.name for place in places()}
    assert {"config", "checkpoint", "model", "data", "points", "resume", "among", "tested", "schema"} <= known
    assert {place.command for place in places()} == set(BASE)


def test_every_place_is_a_command_line_that_its_parser_takes():
    for place in places():
        args = make_parser(place.command).parse_intermixed_args([*place.words])
        assert "{file}" in str(vars(args)), place


def test_what_is_written_is_not_read():
    helps = {
        action.help or ""
        for command in BASE
        for action in make_parser(command)._actions
        if action.dest in WRITTEN and action.choices is None
    }
    assert len(helps) > 10
    assert not [text for text in helps if re.search(r"\bread\b|\bfrom\b", text)]


def test_every_argument_of_a_class_that_sounds_like_a_file_is_known():
    registry.MODELS.get("LandmarkDetector")  # this imports all rooms
    named = set()
    for one in vars(registry).values():
        if isinstance(one, registry.Registry):
            for kind in one.module_dict.values():
                if kind.__module__.startswith("mmlandmark."):
                    named |= set(filter(SOUNDS.search, inspect.signature(kind).parameters))
    of_writers = {"image_dir"}
    assert named <= {*DATASET_FILES, *NOT_READ, *of_writers}
    assert set(NOT_READ) <= named


def test_inputs_of_runs_are_keys_of_configs():
    assert len(run_inputs()) >= 4
    keys = [pair for pairs in config_keys() for pair in pairs]
    for one in run_inputs().values():
        assert any(one.file.split(".")[0] in key for key in keys), one


@pytest.mark.parametrize("name", ["config", "model", "checkpoint", "data", "image", "sweep", "record", "run"])
def test_the_site_has_what_the_commands_need(tmp_path_factory, site, name):
    assert name in site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))
