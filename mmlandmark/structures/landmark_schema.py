"""Names and relations of a set of landmarks, kept as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmlandmark.structures.measure_definitions import DefinitionReader, kept_definitions
from mmlandmark.utils.files import load_json
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.sentences import in_one_sentence

_SHIPPED = Path(__file__).parent / "schemas"


@dataclass(frozen=True)
class LandmarkSchema:
    """Names of the landmarks of a dataset, and the relations between them.

    A landmark may be given by its name or its index; indices are stored.

    Attributes:
        name: Name of the set.
        landmarks: K names, in the order of the annotation.
        dims: 2 or 3.
        flip_pairs: Pairs of landmarks that a left-right mirror swaps.
        links: Pairs of landmarks that drawings join by a line.
        reference_length: ``{"pair": [i, j], "mm": 50.0}``: a known length in millimetres, from which
            images without spacing get a scale; or None.
        derived_points: Points that measures use and that follow from landmarks, such as a midpoint:
            ``{"name", "kind", ...}``.
        measures: Clinical measurements, ``{"name", "kind", ...}`` such as ``{"name": "SNA", "kind": "angle",
            "points": [0, 1, 4]}`` with the vertex in the middle. docs/measures.md has all kinds.
        sources: Where the order and the names come from.

    Raises:
        ValueError: An attribute is not valid; the message names the schema, the key and the landmark.
    """

    name: str
    landmarks: tuple[str, ...]
    dims: int = 2
    flip_pairs: tuple[tuple[int, int], ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    reference_length: dict[str, Any] | None = None
    derived_points: tuple[dict[str, Any], ...] = field(default=())
    measures: tuple[dict[str, Any], ...] = field(default=())
    sources: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.sources, str):
            raise ValueError(f"schema {self.name!r}: 'name' and 'sources' must be text")
        where = f"schema {self.name!r}"
        self._set("landmarks", _names(self.landmarks, where))
        if isinstance(self.dims, bool) or self.dims not in (2, 3):
            raise ValueError(f"{where}: dims must be 2 or 3, got {self.dims}")
        for key in ("flip_pairs", "links"):
            self._set(key, tuple(self._pair(pair, key) for pair in _entries(getattr(self, key), where, key)))
        if self.reference_length is not None:
            self._set("reference_length", self._length(self.reference_length))
        reader = DefinitionReader(self.name, self.landmarks, self.dims, self.reference_length is not None)
        derived = _entries(self.derived_points, where, "derived_points")
        self._set("derived_points", reader.derived_points(derived))
        self._set("measures", reader.measures(_entries(self.measures, where, "measures")))
        mirrored = [i for pair in self.flip_pairs for i in pair]
        if len(set(mirrored)) != len(mirrored):
            raise ValueError(f"{where}: a landmark is in two flip_pairs")

    def _set(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)  # the usual way to set a field of a frozen dataclass

    def _pair(self, given: Any, key: str) -> Any:
        """Return the indices of two different landmarks that are given by name or index."""
        points = list(given) if isinstance(given, list | tuple) else [given]
        names = list(self.landmarks)
        indices = [names.index(p) if isinstance(p, str) and p in names else p for p in points]
        unknown = [p for p in indices if isinstance(p, str)]
        if unknown:
            raise ValueError(
                f"schema {self.name!r}: {key} names {unknown}{did_you_mean(unknown, names)}; "
                f"the landmarks are {names}"
            )
        whole = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < len(names) for i in indices)
        if len(points) != 2 or not whole or len(set(indices)) != 2:
            raise ValueError(
                f"schema {self.name!r}: {key} has {points}, which is not two of "
                f"0..{len(names) - 1} or of the landmarks' names"
            )
        return tuple(indices)

    def _length(self, given: Any) -> dict[str, Any]:
        where = f"schema {self.name!r}: reference_length"
        _check_keys(given, ("pair", "mm"), f"{where} needs 'pair' and a positive 'mm'")
        number = isinstance(given["mm"], int | float) and not isinstance(given["mm"], bool)
        if not number or not 0 < given["mm"] < math.inf:
            raise ValueError(f"{where} needs 'pair' and a positive 'mm', got {given['mm']!r}")
        return dict(given, pair=list(self._pair(given["pair"], "reference_length")))

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def flip_permutation(self) -> list[int]:
        """K indices: row i of a mirrored image's landmarks is row ``flip_permutation[i]`` of the original."""
        order = list(range(len(self)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return order

    def subset(self, landmarks: Sequence[int | str]) -> tuple[LandmarkSchema, list[int]]:
        """Return the schema of some landmarks, in the given order, and their indices in this one.

        Pairs, links, derived points, measures and the reference length are kept where all that they are made
        of is kept.

        Raises:
            ValueError: A name or index is not in the schema, or is named twice.
        """
        chosen = self._chosen(landmarks)
        new = {old: i for i, old in enumerate(chosen)}

        def kept(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
            return tuple((new[a], new[b]) for a, b in pairs if a in new and b in new)

        length = self.reference_length
        if length is not None:
            pair = kept([tuple(length["pair"])])
            length = dict(length, pair=list(pair[0])) if pair else None
        derived, measures = kept_definitions(self.derived_points, self.measures, new, length is not None)
        smaller = LandmarkSchema(
            name=f"{self.name}[{','.join(map(str, chosen))}]",
            landmarks=tuple(self.landmarks[i] for i in chosen),
            dims=self.dims,
            flip_pairs=kept(self.flip_pairs),
            links=kept(self.links),
            reference_length=length,
            derived_points=derived,
            measures=measures,
            sources=self.sources,
        )
        return smaller, chosen

    def _chosen(self, landmarks: Sequence[int | str]) -> list[int]:
        """Return the indices of landmarks that are given by name or index."""
        names, chosen = list(self.landmarks), []
        for item in landmarks:
            index = names.index(item) if isinstance(item, str) and item in names else item
            if not isinstance(index, int) or not 0 <= index < len(names):
                raise ValueError(f"landmarks: {item!r} is not in schema {self.name!r}; it has {names}")
            chosen.append(index)
        if len(set(chosen)) != len(chosen) or not chosen:
            raise ValueError(f"landmarks: name at least one landmark and none twice, got {list(landmarks)}")
        return chosen

    @classmethod
    @in_one_sentence
    def from_dict(cls, data: dict[str, Any], where: str = "schema") -> LandmarkSchema:
        """Build a schema from a JSON object; errors for unknown or missing keys begin with ``where``."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(data, dict):
            raise ValueError(f"{where}: a landmark schema is an object, got {data!r:.80}")
        unknown = sorted(set(map(str, data)) - known)
        if unknown or "name" not in data or "landmarks" not in data:
            raise ValueError(
                f"{where}: a landmark schema needs 'name' and 'landmarks'; known keys {sorted(known)}, "
                f"unknown {unknown}{did_you_mean(unknown, known)}"
            )
        try:
            return cls(**data)
        except ValueError as error:
            raise ValueError(str(error) if where == "schema" else f"{where}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that :meth:`from_dict` reads, without attributes that have no content.

        Example:
            >>> LandmarkSchema("pair", ("a", "b"), links=((0, 1),)).to_dict()
            {'name': 'pair', 'landmarks': ['a', 'b'], 'dims': 2, 'links': [[0, 1]]}
        """
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: _plain(value) for key, value in given.items() if value not in ((), None, "")}

    @classmethod
    @in_one_sentence
    def load(cls, name_or_path: str | Path | dict | LandmarkSchema) -> LandmarkSchema:
        """Load a shipped schema by name or a JSON file by path; a dict is parsed, a schema returned as it is.

        Raises:
            FileNotFoundError: There is no shipped schema and no file of that name; the message lists the
                shipped ones.
            ValueError: The JSON is broken or inconsistent; the message names the file.
        """
        if isinstance(name_or_path, LandmarkSchema):
            return name_or_path
        if isinstance(name_or_path, dict):
            return cls.from_dict(dict(name_or_path))
        path = Path(name_or_path)
        if path.suffix != ".json":
            path = _SHIPPED / f"{name_or_path}.json"
        if not os.path.isfile(path):  # also False for text that is not a valid path
            raise FileNotFoundError(
                f"no landmark schema {str(name_or_path)!r}; shipped: {cls.shipped()}, or give a .json file"
            )
        return cls.from_dict(load_json(path), str(path))

    @staticmethod
    def shipped() -> list[str]:
        """Return the names of the schemas that come with the package."""
        return sorted(p.stem for p in _SHIPPED.glob("*.json"))

    @classmethod
    def numbered(cls, count: int, dims: int = 2) -> LandmarkSchema:
        """Return a schema of ``count`` landmarks with placeholder names."""
        return cls(
            name=f"numbered{count}", landmarks=tuple(f"landmark_{i + 1}" for i in range(count)), dims=dims
        )


def _plain(value: Any) -> Any:
    """Return a value with lists in place of tuples, which the schema does not share."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _names(given: Any, where: str) -> tuple[str, ...]:
    """Return the names of landmarks."""
    if not isinstance(given, list | tuple):
        raise ValueError(f"{where}: 'landmarks' must be a list of names, got {given!r:.80}")
    wrong = [n for n in given if not isinstance(n, str) or not n.strip() or not n.isprintable()]
    if wrong:
        raise ValueError(f"{where}: names of landmarks must be printable text, got {wrong[0]!r}")
    doubles = sorted({n for n in given if given.count(n) > 1})
    if doubles or not given:
        raise ValueError(f"{where}: landmark names must exist and be unique, repeated: {doubles}")
    return tuple(given)


def _entries(given: Any, where: str, key: str) -> Sequence[Any]:
    if not isinstance(given, list | tuple):
        raise ValueError(f"{where}: {key!r} must be a list, got {given!r:.80}")
    return given


def _check_keys(given: Any, keys: Sequence[str], needs: str) -> None:
    """Raise ValueError unless an object has exactly these keys."""
    if not isinstance(given, dict):
        raise ValueError(f"{needs}, got {given!r:.80}")
    unknown = [key for key in map(str, given) if key not in keys]
    if set(given) != set(keys):
        raise ValueError(f"{needs}; unknown {unknown}{did_you_mean(unknown, keys)}" if unknown else needs)
