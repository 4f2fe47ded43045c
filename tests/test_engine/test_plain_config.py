"""Configs that are data run no code, unless the user trusts a package."""

from __future__ import annotations

import json
import sys

import pytest

from mmlandmark.engine import ConfigError, config_of_run, load_config
from mmlandmark.engine.config_data import config_to_data, differences, read_dumped_config
from mmlandmark.engine.plain_config import read_data_config
from mmlandmark.testing import tiny_config


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Put a package on the path that leaves a trace when it is imported."""
    monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
    trace = tmp_path / "was_run"
    (tmp_path / "packages" / "evil_package").mkdir(parents=True)
    code = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
    code += "from torch import nn\nclass Layer(nn.Module): pass\n"
    for name in ("__init__", "registry", "parts"):
        (tmp_path / "packages" / "evil_package" / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    trace = type("Trace", (type(trace),), dict(code=code))(trace)
    yield trace
    for name in [name for name in sys.modules if name.startswith("evil_package")]:
        del sys.modules[name]


HOSTILE = [
    dict(model=dict(type="subprocess.Popen", args=["touch", "x"])),
    dict(model=dict(type="LandmarkDetector", backbone=dict(type="evil_package.Layer"))),
    dict(custom_hooks=[dict(type="EMAHook", ema_type="evil_package.Layer")]),
    dict(optim_wrapper=dict(constructor="evil_package.parts.Layer")),
    dict(train_dataloader=dict(collate_fn="evil_package.Layer")),
    dict(train_dataloader=dict(collate_fn=dict(type="os.system"))),
    dict(custom_imports=dict(imports=["evil_package"], allow_failed_imports=True)),
    dict(custom_imports=dict(imports="evil_package")),
    dict(default_scope="evil_package"),
    dict(model=dict(type="LandmarkDetector", _scope_="evil_package")),
    dict(model=dict(type="mmlandmark.utils.files.atomic_write_text")),
    dict(anything=["evil_package.parts"]),
    # Keys with dots are split when a stage is merged; mmcv looks a padding_mode up among the layers.
    dict(stages=[{"name": "a", "model.backbone.type": "evil_package.json"}]),
    dict(stages=[{"name": "a", "custom_hooks.0.type": "evil_package.json"}]),
    {"custom_imports.imports": ["evil_package"]},
    dict(model=dict(type="ConvModule", padding_mode="evil_package.json")),
]


def write(folder, data, kind):
    import yaml

    path = folder / f"config.{kind}"
    path.write_text(json.dumps(data) if kind == "json" else yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("kind", ["json", "yaml"])
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_name_outside_of_the_house_is_refused(evil, tmp_path, number, kind):
    path = write(tmp_path, HOSTILE[number], kind)
    with pytest.raises(
        ConfigError, match=rf"config\.{kind}: .* --trust \w+ or set MMLANDMARK_TRUST="
    ) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    assert not evil.exists()
    if kind == "json":
        with pytest.raises(ConfigError, match="--trust"):
            config_of_run(tmp_path)
        assert not evil.exists()


@pytest.mark.parametrize("kind", ["json", "yaml"])
@pytest.mark.parametrize("name", ["/elsewhere/evil.py", "program"])
def test_data_names_no_program_as_the_config_of_a_teacher(tmp_path, name, kind):
    model = dict(teacher=dict(checkpoint="a.pth", config=name))
    for data in (dict(model=model), dict(stages=[dict(name="a", model=model)])):
        with pytest.raises(ConfigError, match=r"model\.teacher\.config names .* is a program, not data"):
            load_config(write(tmp_path, data, kind))


def test_data_names_a_shipped_config_and_no_file_of_that_name(evil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmlandmark::evil.py").write_text(evil.code)
    (tmp_path / "mmlandmark::evil.json").write_text("{}")
    for name in ("mmlandmark::evil.py", "mmlandmark::evil.json", "mmlandmark::../setup.py"):
        data = dict(model=dict(teacher=dict(checkpoint="a.pth", config=name)))
        with pytest.raises(ConfigError, match=r"model\.teacher\.config: .* is not among the configs in"):
            load_config(write(tmp_path, data, "json"))
        with pytest.raises(FileNotFoundError, match="is not among the configs in"):
            load_config(name)
    assert not evil.exists()
    shipped = "mmlandmark::unet/unet_phantom-ceph_160x128_cpu.py"
    path = write(tmp_path, dict(model=dict(teacher=dict(checkpoint="a.pth", config=shipped))), "json")
    assert load_config(load_config(path).model.teacher.config).model.type == "LandmarkDetector"


def test_a_stage_names_no_program_under_a_dotted_key(tmp_path):
    data = dict(stages=[{"name": "a", "model.teacher.config": "/elsewhere/evil.py"}])
    with pytest.raises(ConfigError, match=r"stages\.0\.model\.teacher\.config names .* is a program"):
        load_config(write(tmp_path, data, "json"))


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_custom_imports_are_imported_if_trusted(evil, tmp_path, monkeypatch, kind):
    custom = dict(imports=["evil_package.parts"], allow_failed_imports=False)
    path = write(tmp_path, dict(custom_imports=custom), kind)
    with pytest.raises(ConfigError, match="--trust evil_package"):
        load_config(path)
    assert not evil.exists()
    monkeypatch.setenv("MMLANDMARK_TRUST", "evil_package")
    load_config(path)
    assert evil.exists()
    if kind == "json":
        evil.unlink()
        del sys.modules["evil_package.parts"]
        config_of_run(tmp_path)
        assert evil.exists()
    for wrong, says in (
        (dict(imports=["evil_package.gone"]), r"custom_imports: No module named 'evil_package\.gone'"),
        (dict(imports=dict(a="os")), "must list modules that you trust"),
        ("evil_package", "must list modules that you trust"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_config(write(tmp_path, dict(custom_imports=wrong), kind))


def test_a_package_that_is_trusted_may_be_named(evil, tmp_path, monkeypatch):
    path = write(
        tmp_path, dict(model=dict(type="evil_package.Layer"), custom=dict(type="evil_package_2.x")), "json"
    )
    monkeypatch.setenv("MMLANDMARK_TRUST", "other,evil_package")
    with pytest.raises(ConfigError, match=r"custom\.type names 'evil_package_2.x'"):
        load_config(path)
    monkeypatch.setenv("MMLANDMARK_TRUST", "evil_package,evil_package_2")
    assert load_config(path).model.type == "evil_package.Layer"


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch x']",
        "model: !!python/object/apply:subprocess.Popen [[touch, x]]",
        "model: !!python/name:os.system",
        "- 1",
        "a: [",
    ],
)
def test_yaml_is_data(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml: ") as error:
        load_config(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


def test_bases_of_data_are_data(evil, tmp_path, monkeypatch):
    (tmp_path / "base.py").write_text(f"import pathlib\npathlib.Path({str(evil)!r}).touch()\n")
    for base in ("base.py", "mmlandmark::../setup.py", "mmlandmark::nowhere.py"):
        with pytest.raises(ConfigError, match="_base_"):
            load_config(write(tmp_path, {"_base_": base}, "json"))
    assert not evil.exists()
    (tmp_path / "base.json").write_text('{"train_cfg": {"max_epochs": 3, "by_epoch": true}}')
    monkeypatch.setenv("LONG", "5")
    path = tmp_path / "a.json"
    path.write_text(
        '{"_base_": "base.json", "train_cfg": {"max_epochs": {{$LONG:4}}}, "work_dir": "{{$GONE:x}}"}'
    )
    config = load_config(path)
    assert config.train_cfg == dict(max_epochs=5, by_epoch=True)
    assert config.work_dir == "x"
    shipped = write(tmp_path, {"_base_": ["mmlandmark::_base_/models/unet6.py"]}, "yaml")
    assert load_config(shipped).model.type == "LandmarkDetector"
    path.write_text('{"_base_": "a.json"}')
    with pytest.raises(ConfigError, match="base of itself"):
        load_config(path)


def test_two_bases_have_no_key_in_common(tmp_path):
    """The same in Python raises an error as well: a section of the first base would be lost."""
    (tmp_path / "a.json").write_text('{"model": {"type": "LandmarkDetector"}, "seed": 1}')
    (tmp_path / "b.yaml").write_text("model: {head: {}}")
    path = write(tmp_path, {"_base_": ["a.json", "b.yaml"]}, "json")
    with pytest.raises(ConfigError, match=r"config\.json: model in its _base_ 'b\.yaml' is in one before it"):
        load_config(path)
    (tmp_path / "b.yaml").write_text("other: {head: {}}")
    assert read_data_config(path) == dict(model=dict(type="LandmarkDetector"), seed=1, other=dict(head={}))


PATHS = ["/daten/Röntgen", "D:\\new \"data\" 'x': #1, [a]", "\U0001f9b4: *a", "5", "{{", ""]


@pytest.mark.parametrize("value", PATHS)
def test_a_variable_in_quotes_is_text_whatever_it_holds(tmp_path, monkeypatch, value):
    monkeypatch.setenv("MY_ROOT", value)
    path = tmp_path / "a.json"
    path.write_text('{"a": "{{$MY_ROOT:data}}/x", "{{ $MY_ROOT : data }}": ["\\u00f6{{$MY_ROOT:}}"]}')
    assert read_data_config(path) == {"a": f"{value}/x", value: [f"ö{value}"]}
    path = tmp_path / "a.yaml"
    path.write_text(
        "a: '{{$MY_ROOT:data}}/x'\nb: [\"\\xf6{{$MY_ROOT:}}\"]\nc: see {{$MY_ROOT:data}}\n"
        "d: |\n  {{$MY_ROOT:x}}\n"
    )
    found = read_data_config(path)
    assert found == dict(a=f"{value}/x", b=[f"ö{value}"], c=f"see {value}", d=f"{value}\n")


def test_a_variable_without_quotes_is_a_value(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('{"a": {{$MINE:4}}, "b": [{{$MINE:4}}]}')
    (tmp_path / "a.yaml").write_text("a: {{$MINE:4}}\nb: [{{$MINE:4}}]\n")
    for value, meant in (("5", 5), ("[1, 2]", [1, 2]), ("true", True), ("null", None), ("0.5", 0.5)):
        monkeypatch.setenv("MINE", value)
        for kind in ("json", "yaml"):
            assert read_data_config(tmp_path / f"a.{kind}") == dict(a=meant, b=[meant])
    monkeypatch.delenv("MINE")
    assert read_data_config(tmp_path / "a.yaml") == read_data_config(tmp_path / "a.json") == dict(a=4, b=[4])
    monkeypatch.setenv("MINE", "/daten/Röntgen")
    assert read_data_config(tmp_path / "a.yaml") == dict(a="/daten/Röntgen", b=["/daten/Röntgen"])
    with pytest.raises(ValueError, match=r"a\.json, line 1: not valid JSON"):
        read_data_config(tmp_path / "a.json")


def test_a_default_is_escaped_once_as_what_is_around_it(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "{{$GONE:D:\\\\R\\u00f6}}"}')
    assert read_data_config(tmp_path / "a.json") == dict(a="D:\\Rö")
    (tmp_path / "a.yaml").write_text(
        "a: \"{{$GONE:D:\\\\R\\xf6}}\"\nb: {{$GONE:D:\\Rö}}\nc: '{{$GONE:a''b}}'\n"
        "d: &x {{$GONE:[1]}}\ne: *x\n"
    )
    assert read_data_config(tmp_path / "a.yaml") == dict(a="D:\\Rö", b="D:\\Rö", c="a'b", d=[1], e=[1])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read(tmp_path, encoding):
    (tmp_path / "config.json").write_text('{"work_dir": "Röntgen"}', encoding=encoding)
    assert load_config(tmp_path / "config.json").work_dir == "Röntgen"
    assert config_of_run(tmp_path).work_dir == "Röntgen"


def test_modules_beside_a_config_come_last(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "numpy.py").write_text("raise RuntimeError('imported from beside a config')")
    (tmp_path / "a.py").write_text("train_cfg = dict()")
    load_config(tmp_path / "a.py")
    assert sys.path[-1] == str(tmp_path)
    before = list(sys.path)
    (tmp_path / "data").mkdir()
    load_config(write(tmp_path / "data", dict(train_cfg={}), "json"))
    assert sys.path == before


def test_what_a_run_of_an_earlier_version_left_is_read_as_text(tmp_path):
    config = tiny_config(tmp_path, variable=(1, -2.5), odd={"a b": None, 3: [True]})
    config.dump(tmp_path / "config.py")
    found = config_of_run(tmp_path)
    assert differences(config_to_data(config), config_to_data(found)) == []
    assert found.variable == (1, -2.5)
    trace = tmp_path / "was_run"
    for line in (
        f"__import__('pathlib').Path({str(trace)!r}).touch()",
        f"x = __import__('pathlib').Path({str(trace)!r}).touch()",
        "import os",
        "x = [y for y in (1, 2)]",
        "x = dict(**{'a': 1})",
        "x = {**{}}",
        "x = f'{1}'",
        "(",
    ):
        (tmp_path / "config.py").write_text(f"model = dict(type='LandmarkDetector')\n{line}\n")
        with pytest.raises(ConfigError, match=r"config\.py.*(is a program|not a config that)"):
            config_of_run(tmp_path)
        assert not trace.exists()


def test_a_key_cannot_leave_its_quotes(tmp_path):
    # MMEngine writes keys unquoted into its text: what is written from data must not be executed again.
    trace = tmp_path / "was_run"
    key = f"a': __import__('pathlib').Path({str(trace)!r}).touch(), 'b"
    config = tiny_config(tmp_path, odd={key: 1})
    (tmp_path / "config.py").write_text(config.pretty_text)
    with pytest.raises(ConfigError):
        config_of_run(tmp_path)
    assert not trace.exists()


def test_a_long_difference_is_cut():
    (line,) = differences(dict(a="x" * 500, b=1, work_dir=1), dict(a="y" * 500, b=1, work_dir=2))
    assert len(line) < 150
    assert read_dumped_config("a = inf\nb = -inf", "x") == dict(a=float("inf"), b=float("-inf"))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(
            ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20))]
        ),
        "a: &a [1, *a]",
        "a: &a {b: *a}",
    ],
    ids=["many", "endless list", "endless dict"],
)
def test_aliases_do_not_fill_the_memory(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml: .*its aliases make more than 1,000,000 values of it"):
        read_data_config(tmp_path / "a.yaml")


def test_aliases_are_copies(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a [1, {b: 2}]\nc: [*a, *a]\n")
    assert read_data_config(tmp_path / "a.yaml")["c"] == [[1, dict(b=2)]] * 2
