"""The entries of a NRRD header that have one value for every axis: as many as there are axes.

ITK ends the whole process at some headers with more of them.
"""

from __future__ import annotations

import re

_MOST = 16  # axes, by the definition of the format
_WORDS = (
    "sizes", "spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "centers",
    "centerings", "kinds",
)  # fmt: skip
_TEXTS = ("labels", "units")


def check_axes(fields: dict[str, str]) -> None:
    """Refuse a header whose entries are not of one number of axes.

    Args:
        fields: Entries of the header by their names in lower case.

    Raises:
        ValueError: The number of axes is missing, or an entry has more or fewer values.
    """
    for name in ("dimension", "space dimension"):
        text = fields.get(name, "1" if name == "space dimension" else "")
        if not re.fullmatch(r"\s*\d{1,2}\s*", text) or not 1 <= int(text) <= _MOST:
            raise ValueError(f"its {name} {text!r:.80} is not a number from 1 to {_MOST}")
    axes = int(fields["dimension"])
    counts = {name: len(fields[name].split()) for name in _WORDS if name in fields}
    counts |= {name: len(re.findall(r'"(?:[^"\\]|\\.)*"', fields[name])) for name in _TEXTS if name in fields}
    if "space directions" in fields:
        counts["space directions"] = len(re.findall(r"\([^()]*\)|none", fields["space directions"]))
    for name, count in counts.items():
        if count != axes:
            raise ValueError(f"its {name} {fields[name]!r:.80} are {count}, but its dimension is {axes}")
    vectors = [
        vector
        for name in ("space directions", "space origin", "measurement frame")
        for vector in re.findall(r"\(([^()]*)\)", fields.get(name, ""))
    ]
    if len({len(vector.split(",")) for vector in vectors}) > 1:
        raise ValueError(f"its vectors have different lengths: {', '.join(vectors):.80}")
