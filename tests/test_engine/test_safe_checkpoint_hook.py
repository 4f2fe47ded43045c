"""Checkpoints hold plain values."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmlandmark.engine.hooks import SafeCheckpointHook
from mmlandmark.engine.hooks.safe_checkpoint_hook import to_plain


def test_checkpoint_values_become_plain(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    state = OrderedDict(weight=torch.ones(2))
    state._metadata = {"": {"version": 1}}
    checkpoint = dict(
        state_dict=state,
        message_hub=dict(
            log_scalars=OrderedDict(loss=buffer), runtime_info=dict(best=np.float64(1.5), a=np.arange(3))
        ),
        param_schedulers=[dict(base=np.float32(2), anneal=max)],
        meta=dict(names=("a", "b"), tags={"x"}),
    )
    hook = SafeCheckpointHook()
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / "c.pth")
    loaded = torch.load(tmp_path / "c.pth", weights_only=True)
    assert loaded["message_hub"]["runtime_info"]["best"] == 1.5
    assert loaded["param_schedulers"] == [{"base": 2.0}]
    assert loaded["meta"]["tags"] == ["x"]
    hook.after_load_checkpoint(None, loaded)
    back = loaded["message_hub"]["log_scalars"]["loss"]
    assert isinstance(back, HistoryBuffer)
    assert back.mean() == 1.5
    # On resume with a GPU the tensors come from there, and numpy takes none of those.
    away = torch.load(tmp_path / "c.pth", weights_only=True, map_location="meta")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        hook.after_load_checkpoint(None, away)
    with pytest.raises(TypeError, match=r"meta\.thing is a SimpleNamespace"):
        to_plain(dict(thing=SimpleNamespace()), "meta")
