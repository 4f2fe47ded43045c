"""No field of a model file runs code, touches a file, takes all memory, or ends in a crash.

Every place of the file gets every value that an attacker, or bad luck, may put there. A file is then refused
with one sentence that names it, or it works: it describes itself, predicts an image, and is saved again.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mmlandmark.inference.description import describe_model
from mmlandmark.models.model_file import ModelFile
from mmlandmark.testing import tiny_model
from mmlandmark.utils import checkpoint
from mmlandmark.utils.checkpoint import checked_content, load_checkpoint, save_checkpoint

JSON = ("config", "schema", "calibration", "measured", "training")
FILM = np.random.default_rng(0).integers(0, 256, (40, 32), dtype=np.uint8)


class Guard:
    """Fails a test that leaves a trace, opens a connection, or runs a program."""

    def __init__(self, root, monkeypatch) -> None:
        self.trace = root / "was_run"
        monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
        monkeypatch.chdir(root)
        for owner, name in (
            (os, "system"),
            (socket, "create_connection"),
            (checkpoint, "download"),
        ):
            monkeypatch.setattr(owner, name, self.refuse)

    def refuse(self, *_: Any, **__: Any) -> None:
        """Leave a trace."""
        self.trace.touch()

    def values(self) -> list[Any]:
        """Return what may stand in place of any value of the JSON parts."""
        code = f"__import__('pathlib').Path({str(self.trace)!r}).touch()"
        return [
            *(
                code,
                "os.system",
                "subprocess.Popen",
                "mmlandmark.utils.files.atomic_write_text",
                "../../x.pth",
            ),
            *(
                "/etc/passwd",
                "https://example.org/a.pth",
                "{{$HOME:x}}",
                "",
                "UNet",
                "Resize",
                "x" * 10_000,
                "\0\n",
            ),
            *(-1, 0, 1, 10**6, 2**31, 2**63, 10**400, -(10**18), 1e300, -0.5, True, None),
            *([], {}, [[]], [0] * 1000, [10**9, 10**9], ["os.system"], {"": {}}),
            dict(type="os.system", command="touch x"),
            dict(type="mmlandmark.utils.files.atomic_write_text", path=str(self.trace), text="x"),
            dict(type="Pretrained", checkpoint="https://example.org/a.pth"),
            dict(type="EnsembleDetector", members=10**9),
            dict(type="LoadImageFromFile"),
            dict(type="DumpResults", out_file_path=str(self.trace)),
            dict(type="UNet", in_channels=1, widths=[8, 10**9]),
            dict(_scope_="os", type="system"),
        ]


def ways(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the way to every field, containers included."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from ways(value[key], (*path, key))


def replaced(content: Any, path: tuple, value: Any) -> Any:
    """Return content with another value in one place."""
    if not path:
        return value
    changed = copy.copy(content)
    changed[path[0]] = replaced(content[path[0]], path[1:], value)
    return changed


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return the content of a model file with something in every part."""
    from dataclasses import replace

    path = tmp_path_factory.mktemp("good") / "good.mml.pth"
    results = dict(
        data="films", unit="mm", images=3, mre=1.5, median=1.0, sdr={"2": 90.0}, landmarks=dict(a=1.0)
    )
    model = replace(
        tiny_model(),
        measured=dict(test=results),
        calibration=dict(levels=[0.9], radii=[[1.0] * 19]),
        training=dict(config="a", seed=1, trained_on=dict(images=3, hash="ab"), data=["films"]),
        licence="research use",
    )
    model.save(path)
    return load_checkpoint(path)


def outcome(content: dict, where: str = "model file x.pth") -> str:
    """Load the content of a file, and use it; return the sentence that refuses it, or nothing."""
    try:
        model = ModelFile.from_content(checked_content(dict(content), where), where)
    except ValueError as error:
        return str(error)
    describe_model(model)
    return ""


def predict(model: ModelFile) -> None:
    """Predict an image."""
    packed = model.transforms()(dict(sample_id="film", img=FILM))
    with torch.no_grad():
        model.detector().test_step(dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]]))


@pytest.mark.slow
def test_every_value_in_every_place_is_refused_or_works(good, tmp_path, monkeypatch):
    guard = Guard(tmp_path, monkeypatch)
    data = {key: json.loads(good[key]) for key in JSON}
    places = [(key, way) for key in JSON for way in [(), *ways(data[key])]]
    values, refused, accepted = guard.values(), 0, 0
    each = min(len(values), int(os.environ.get("MMLANDMARK_FUZZ", 0)) // len(places) or 2)
    assert len(places) > 150
    begin, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (key, way) in enumerate(places):
        for value in (values[(each * number + i) % len(values)] for i in range(each)):
            hostile = good | {key: json.dumps(replaced(data[key], way, value))}
            said = outcome(hostile)
            assert "\n" not in said, (key, way, value)
            assert len(said) <= 1000, (key, way, value)
            assert not said or "x.pth" in said, said
            assert not guard.trace.exists(), (key, way, value)
            refused, accepted = refused + bool(said), accepted + (not said)
    assert refused > 200
    assert accepted > 50  # notes about training and results may say anything
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 500_000, f"{grown} kB more"  # of which most is the first use of operators
    assert (time.monotonic() - begin) / (refused + accepted) < 1
    assert list(tmp_path.iterdir()) == []


def top_level(good) -> dict[str, Any]:
    """Return hostile contents by what is wrong with them."""
    state, key = good["state_dict"], next(iter(good["state_dict"]))

    def weights(value: Any) -> dict:
        return good | dict(state_dict=dict(state) | {key: value})

    shape = state[key].shape
    aliased: list = ["x"]
    for _ in range(30):
        aliased = [aliased] * 10
    return dict(
        stretched=weights(torch.zeros(1).expand(10**12)),
        stretched_to_fit=weights(torch.zeros(1).expand(shape)),
        nan=weights(torch.full(shape, float("nan"))),
        infinite=weights(torch.full(shape, float("inf"))),
        complex=weights(torch.zeros(shape, dtype=torch.complex64)),
        whole_numbers=weights(torch.zeros(shape, dtype=torch.int64)),
        sparse=weights(torch.zeros(shape).to_sparse()),
        meta=weights(torch.empty(shape, device="meta")),
        text=weights("weights"),
        larger=weights(torch.zeros(*shape, 2)),
        no_weights=good | dict(state_dict={}),
        weights_of_no_name=good | dict(state_dict={1: torch.zeros(1)}),
        list_of_weights=good | dict(state_dict=[torch.zeros(1)]),
        unknown_key=good | dict(extra=1),
        key_of_another_type=good | {7: 1},
        lacking={k: v for k, v in good.items() if k != "schema"},
        format_of_another=good | dict(format="other"),
        format_of_a_tensor=good | dict(format=torch.zeros(2)),
        version_zero=good | dict(format_version=0),
        version_true=good | dict(format_version=True),
        version_text=good | dict(format_version="1"),
        version_newer=good | dict(format_version=10**30),
        config_as_dict=good | dict(config=json.loads(good["config"])),
        config_of_bytes=good | dict(config=good["config"].encode()),
        config_aliased=good | dict(config=aliased),
        config_cut=good | dict(config=good["config"][:-5]),
        config_deep=good | dict(config="[" * 10**5 + "]" * 10**5),
        config_deep_object=good | dict(config='{"a":' * 500 + "1" + "}" * 500),
        config_twice=good | dict(config='{"model": {}, "model": {}}'),
        config_number=good | dict(config="1" * 10**5),
        config_nan=good | dict(config="NaN"),
        config_long=good | dict(config=" " * 2**25 + "{}"),
        calibration_deep=good | dict(calibration='{"a":' * 500 + "1" + "}" * 500),
        schema_null=good | dict(schema="null"),
        name_control=good | dict(name="\x1b[2J"),
        name_number=good | dict(name=5),
        licence_long=good | dict(licence="x" * 10**6),
    )


def test_every_other_part_is_refused(good, tmp_path, monkeypatch):
    guard = Guard(tmp_path, monkeypatch)
    for what, content in top_level(good).items():
        said = outcome(content)
        # Weights of one value for all are weights, if the file holds as many values as it says.
        assert said, f"{what} was accepted"
        assert "\n" not in said, what
        assert "x.pth" in said, (what, said)
        assert not guard.trace.exists(), what
    assert outcome(good) == ""


class _Evil:
    def __init__(self, trace) -> None:
        self.trace = trace

    def __reduce__(self):
        return (exec, (f"__import__('pathlib').Path({str(self.trace)!r}).touch()",))


def test_pickles_and_damaged_files_are_refused(good, tmp_path, monkeypatch):
    guard, path = Guard(tmp_path, monkeypatch), tmp_path / "x.pth"
    save_checkpoint(good, path)
    whole = path.read_bytes()
    assert ModelFile.load(path).name == "untrained"
    files = dict(
        evil_pickle=pickle.dumps(_Evil(guard.trace), protocol=2),
        empty=b"",
        text=b"model = dict()",
        zip_of_nothing=b"PK\x05\x06" + b"\0" * 18,
        half=whole[: len(whole) // 2],
        no_end=whole[:-1],
        flipped=whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:],
    )
    torch.save(good | dict(name=_Evil(guard.trace)), tmp_path / "evil.pth")
    files["evil_value"] = (tmp_path / "evil.pth").read_bytes()
    torch.save(good | dict(state_dict=_Evil(guard.trace)), tmp_path / "evil.pth")
    files["evil_weights"] = (tmp_path / "evil.pth").read_bytes()
    torch.save([good], tmp_path / "evil.pth")
    files["list"] = (tmp_path / "evil.pth").read_bytes()
    for what, data in files.items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.pth") as caught:
            ModelFile.load(path)
        assert "\n" not in str(caught.value), what
        assert not guard.trace.exists(), what
    with pytest.raises(FileNotFoundError):
        ModelFile.load(tmp_path / "none.pth")


def test_what_is_accepted_can_be_used(good, tmp_path, monkeypatch):
    guard = Guard(tmp_path, monkeypatch)
    config, used = json.loads(good["config"]), 0
    places = [way for way in ways(config) if way[0] in ("model", "pipeline")]
    for way in places:
        for value in (1, 2, True, None, 0.5, [1, 1]):
            hostile = good | dict(config=json.dumps(replaced(config, way, value)))
            try:
                model = ModelFile.from_content(checked_content(dict(hostile), "x"), "x")
            except ValueError:
                continue
            predict(model)
            used += 1
    assert len(places) > 20
    assert used > 10
    assert not guard.trace.exists()
