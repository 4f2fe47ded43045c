"""Names and relations of a set of landmarks, kept as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SHIPPED = Path(__file__).parent / "schemas"


@dataclass(frozen=True)
class LandmarkSchema:
    """What a dataset's landmarks are called and how they belong together.

    Attributes:
        name: Name of the set.
        landmarks: K names, in the order of the annotation.
        dims: 2 or 3.
        flip_pairs: Index pairs that a left-right mirror swaps.
        links: Index pairs to join by a line when drawing.
        reference_length: ``{"pair": [i, j], "mm": 50.0}``: a length known in millimetres that gives
            images without spacing a scale, or None.
        measures: Clinical measurements, each ``{"name", "kind": "angle"|"distance", "points"}``.
        sources: Where order and names come from.
    """

    name: str
    landmarks: tuple[str, ...]
    dims: int = 2
    flip_pairs: tuple[tuple[int, int], ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    reference_length: dict[str, Any] | None = None
    measures: tuple[dict[str, Any], ...] = field(default=())
    sources: str = ""

    def __post_init__(self) -> None:
        count = len(self.landmarks)
        if self.dims not in (2, 3):
            raise ValueError(f"schema {self.name!r}: dims must be 2 or 3, got {self.dims}")
        if len(set(self.landmarks)) != count or count == 0:
            doubles = sorted({n for n in self.landmarks if self.landmarks.count(n) > 1})
            raise ValueError(
                f"schema {self.name!r}: landmark names must exist and be unique, repeated: {doubles}"
            )
        pairs = [("flip_pairs", p) for p in self.flip_pairs] + [("links", p) for p in self.links]
        if self.reference_length is not None:
            if set(self.reference_length) != {"pair", "mm"} or not self.reference_length["mm"] > 0:
                raise ValueError(f"schema {self.name!r}: reference_length needs 'pair' and a positive 'mm'")
            pairs.append(("reference_length", self.reference_length["pair"]))
        for key, pair in pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= i < count for i in pair):
                raise ValueError(
                    f"schema {self.name!r}: {key} has {list(pair)}, which is not two of 0..{count - 1}"
                )
        mirrored = [i for pair in self.flip_pairs for i in pair]
        if len(set(mirrored)) != len(mirrored):
            raise ValueError(f"schema {self.name!r}: a landmark stands in two flip_pairs")

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def flip_permutation(self) -> list[int]:
        """K indices: row i of a mirrored image's landmarks is row ``flip_permutation[i]`` of the original."""
        order = list(range(len(self)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return order

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "schema") -> LandmarkSchema:
        """Build a schema from a JSON object; unknown or missing keys are named with ``where``."""
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(data) - known)
        if unknown or "name" not in data or "landmarks" not in data:
            raise ValueError(
                f"{where}: a landmark schema needs 'name' and 'landmarks'; known keys {sorted(known)}, "
                f"unknown {unknown}"
            )
        data = dict(data, landmarks=tuple(data["landmarks"]), measures=tuple(data.get("measures", ())))
        for key in ("flip_pairs", "links"):
            data[key] = tuple(tuple(int(i) for i in pair) for pair in data.get(key, ()))
        return cls(**data)

    @classmethod
    def load(cls, name_or_path: str | Path | dict | LandmarkSchema) -> LandmarkSchema:
        """Load a shipped schema by name, a JSON file by path, or take a dict or schema as it is.

        Raises:
            FileNotFoundError: Neither a shipped name nor a file; shipped names are listed.
            ValueError: The JSON is broken or inconsistent; the file is named.
        """
        if isinstance(name_or_path, LandmarkSchema):
            return name_or_path
        if isinstance(name_or_path, dict):
            return cls.from_dict(dict(name_or_path))
        path = Path(name_or_path)
        if path.suffix != ".json":
            path = _SHIPPED / f"{name_or_path}.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"no landmark schema {str(name_or_path)!r}; shipped: {cls.shipped()}, or give a .json file"
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not valid JSON, line {error.lineno}: {error.msg}") from error
        return cls.from_dict(data, str(path))

    @staticmethod
    def shipped() -> list[str]:
        """Return the names of the schemas that come with the package."""
        return sorted(p.stem for p in _SHIPPED.glob("*.json"))

    @classmethod
    def numbered(cls, count: int, dims: int = 2) -> LandmarkSchema:
        """Return a schema of ``count`` landmarks that are only numbered."""
        return cls(
            name=f"numbered{count}", landmarks=tuple(f"landmark_{i + 1}" for i in range(count)), dims=dims
        )
