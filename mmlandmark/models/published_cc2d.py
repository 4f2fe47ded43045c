"""Weights of the published code of CC2D, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ENCODER = "vgg."
# Parts besides the encoder. The last one is never computed.
PARTS = (*(f"up{n}." for n in range(1, 6)), "trans_", "non_local_", "RPR_head.")
_DEEPEST = 5  # number of the last of the published levels; 0 is that of the image's size
_FIELDS = {"conv_cat": "join", "conv_res": "shortcut"}


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Return whether weights have the names of the published code, which may be those of several GPUs."""
    return any(name.removeprefix("module.").startswith("trans_") for name in state)


def decoder_state(published: Mapping[str, Tensor], skip_channels: Sequence[int]) -> dict[str, Tensor]:
    """Return the published decoder under the names of :class:`~mmlandmark.models.necks.EmbeddingDecoder`.

    There a level of the way up sees the encoder's channels first; ours come after those from below. Levels
    that the decoder does not have are left out.

    Args:
        published: Weights with the names ``upK.conv.double_conv.N``, ``trans_K``, and
            ``non_local_K.branchB.I``; others are left out.
        skip_channels: Of the encoder at every level of the decoder, finest first.

    Raises:
        ValueError: A name belongs to one of these parts, but not to the published network; it is named.
    """
    depth, state = len(skip_channels), {}
    for given, value in published.items():
        name = given.removeprefix("module.")
        if not name.startswith(PARTS) or name.startswith("RPR_head."):
            continue
        if up := re.fullmatch(r"up([1-5])\.conv\.double_conv\.([0134])\.(\w+)", name):
            number, layer = int(up[1]), int(up[2])
            if number >= depth:
                continue
            if layer == 0 and value.ndim == 4:
                skip = skip_channels[depth - 1 - number]
                value = torch.cat([value[:, skip:], value[:, :skip]], 1)
            state[f"up{number}.{layer // 3}.{'bn' if layer % 3 else 'conv'}.{up[3]}"] = value
        elif embedding := re.fullmatch(r"trans_([0-5])\.(\w+)", name):
            index = int(embedding[1]) - _DEEPEST + depth - 1
            if index >= 0:
                state[f"embeddings.{index}.{embedding[2]}"] = value
        elif field := re.fullmatch(r"non_local_([1-5])\.(.+)\.(conv|bn)\.(\w+)", name):
            index = int(field[1]) - _DEEPEST + depth - 1
            state[f"fields.{index}.{_field_part(field[2], given)}.{field[3]}.{field[4]}"] = value
        else:
            raise ValueError(f"{given!r} is no parameter of the published CC2D")
    return state


def _field_part(part: str, given: str) -> str:
    """Return our name of a part of a receptive field block; the first branch is one convolution."""
    branch = re.fullmatch(r"branch([0-3])\.([0-3])", part)
    if branch is None and part not in _FIELDS:
        raise ValueError(f"{given!r} is no parameter of the published CC2D")
    if branch is None:
        return _FIELDS[part]
    return "branches.0" if branch[1] == "0" else f"branches.{branch[1]}.{branch[2]}"
