"""Names in data: which of them may be imported."""

from __future__ import annotations

import pytest

from mmlandmark.engine.config_data import config_to_data
from mmlandmark.models.detectors import LandmarkDetector
from mmlandmark.testing import tiny_config
from mmlandmark.trust import check_names, is_trusted, strings_in


def test_names_of_the_house_and_of_files_are_harmless(tmp_path):
    full = f"{LandmarkDetector.__module__}.LandmarkDetector"
    for harmless in (
        dict(model=dict(type=full)),
        dict(model=dict(type="mmengine.EMAHook")),
        dict(ann_file="test.json", image="email.png", taps=["backbone.down1", "head.convs"]),
        dict(text="see os.path for more"),
    ):
        check_names(harmless, "here")
    check_names(config_to_data(tiny_config(tmp_path)), "here")


def test_a_name_outside_is_refused_unless_its_package_is_trusted(monkeypatch):
    data = dict(model=dict(parts=[dict(type="os.system")]))
    monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
    with pytest.raises(ValueError, match=r"here: model\.parts\.0\.type names 'os\.system'.*--trust os"):
        check_names(data, "here")
    monkeypatch.setenv("MMLANDMARK_TRUST", "mine, os")
    check_names(data, "here")
    with pytest.raises(ValueError, match=r"type names 'my-script\.Layer'"):
        check_names(dict(type="my-script.Layer"), "here")
    check_names(dict(text="my-script.Layer", other="this.md"), "here")
    with pytest.raises(ValueError, match=r"other names 'this\.md'"):
        check_names(dict(other="this.md"), "here", files=False)
    assert is_trusted("os.path.join")
    assert not is_trusted("osx.path")


def test_every_text_is_found_with_its_keys():
    data = {"a": ["x", dict(b="y")], "c": 1, "d.e": "z"}
    assert list(strings_in(data)) == [(("a", "0"), "x"), (("a", "1", "b"), "y"), (("d", "e"), "z")]


def test_names_of_modules_need_no_latin_letters():
    with pytest.raises(ValueError, match=r"features\.0 names 'os\.pfad_ö'"):
        check_names(dict(features=["os.pfad_ö"]), "here")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        # MMEngine's backends: the folder gets into sys.path before a module is imported.
        (
            dict(dataset=dict(backend_args=dict(backend="memcached", sys_path="/elsewhere"))),
            "modules are imported",
        ),
        (dict(custom_hooks=[dict(type="RFSearchHook", rfstructure_file="a.pkl")]), "is a pickle"),
        (dict(compile=dict(options={"cpp.cxx": ["/elsewhere/evil.sh"]})), "may name a program"),
        ({"compile.options": {"cuda.cuda_cxx": "evil"}}, "may name a program"),
    ],
)
def test_arguments_that_load_code_are_refused_even_if_trusted(monkeypatch, data, why):
    monkeypatch.setenv("MMLANDMARK_TRUST", "elsewhere,evil,a")
    with pytest.raises(ValueError, match=rf"here: .*{why}, which data may not do: write it in a Python"):
        check_names(data, "here")
    check_names(dict(compile=dict(mode="default"), rfstructure_file="a.json"), "here")
