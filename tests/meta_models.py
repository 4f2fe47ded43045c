"""Models without numbers, of which tests want to know only what they consist of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch


@contextmanager
def without_numbers() -> Iterator[None]:
    """Build models on the meta device and leave out how weights start, which takes most of the time."""
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        for name in dir(torch.nn.init):
            if name.endswith("_") and not name.startswith("_"):
                patch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
        yield
