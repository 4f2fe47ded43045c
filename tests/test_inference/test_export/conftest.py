"""Programs are translated to ONNX once, which takes seconds."""

from __future__ import annotations

import hashlib

import pytest

from mmlandmark.inference.export import formats


@pytest.fixture(scope="session", autouse=True)
def _each_program_is_translated_once():
    """Remember the ONNX model of a program, by its text and its weights."""
    translate, models = formats.onnx_model, {}

    def remembered(traced):
        digest = hashlib.sha256(repr((str(traced.program), traced.outputs)).encode())
        for name, value in [*traced.program.state_dict.items(), *traced.program.constants.items()]:
            digest.update(repr((name, value.dtype, value.shape)).encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
        key = digest.hexdigest()
        if key not in models:
            models[key] = translate(traced)
        copied = type(models[key])()
        copied.CopyFrom(models[key])
        return copied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "onnx_model", remembered)
        yield
