"""Definitions of clinical measures and derived points in a landmark schema: what they may say, and checks.

A definition is a JSON object; docs/measures.md describes all kinds. This module only reads definitions.
:mod:`mmlandmark.evaluation.measures` computes their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmlandmark.structures.measure_classes import checked_classes
from mmlandmark.utils.near_names import did_you_mean

AXES = ("x", "y", "z")
CURVES = ("PT", "MT", "TL/L", 1, 2, 3)
# kind -> what it is measured in, the keys it needs, the keys it may have. One of `points|lines`.
MEASURES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "angle": ("angle", ("points|lines",), ("positive",)),
    "distance": ("length", ("points",), ("sign_along", "scale")),
    "point_to_line": ("length", ("point", "line"), ("positive", "scale")),
    "projected_distance": ("length", ("points", "line"), ("scale",)),
    "ratio": ("ratio", ("measures",), ()),
    "sum": ("", ("plus",), ("minus",)),
    "cobb": ("angle", ("curve", "points"), ()),
}
DERIVED: dict[str, tuple[str, ...]] = {
    "midpoint": ("points",),
    "intersection": ("lines",),
    "projection": ("point", "line"),
}
_COMMON = ("name", "kind", "classes", "source")
_COUNTS = {"angle": 3, "distance": 2, "projected_distance": 2}
_PARTS = ("measures", "plus", "minus")
_WORDS = {2: "two", 3: "three"}
_PART, _DEEPEST = ": a part", 6

Definition = dict[str, Any]


@dataclass
class DefinitionReader:
    """Checks the definitions of one schema and replaces names of landmarks by their indices.

    A point is the index or the name of a landmark, or the name of a derived point; in a checked definition it
    is an index (int) or the name of a derived point. A line is a pair of points, or an axis of the image.

    Args:
        schema: Name of the schema, for messages.
        landmarks: K names.
        dims: 2 or 3.
        has_reference: Whether the schema has a reference length.
    """

    schema: str
    landmarks: tuple[str, ...]
    dims: int
    has_reference: bool = False
    _derived: list[str] = field(default_factory=list, init=False)
    _quantities: dict[str, str] = field(default_factory=dict, init=False)

    def derived_points(self, given: Sequence[Any]) -> tuple[Definition, ...]:
        """Return checked definitions of derived points; each may use those before it.

        Raises:
            ValueError: One is not valid; the message names the schema, the point and the key.
        """
        checked = []
        for entry in given:
            name = self._name(entry, "derived_points", [*self.landmarks, *self._derived])
            checked.append(self._derived_point(entry, f"derived point {name!r}"))
            self._derived.append(name)
        return tuple(checked)

    def measures(self, given: Sequence[Any]) -> tuple[Definition, ...]:
        """Return checked definitions of measures; each may use those before it.

        Raises:
            ValueError: One is not valid; the message names the schema, the measure and the key.
        """
        checked = []
        for entry in given:
            name = self._name(entry, "measures", self._quantities)
            definition, quantity = self._measure(entry, f"measure {name!r}")
            checked.append(definition)
            self._quantities[name] = quantity
        return tuple(checked)

    def _error(self, where: str, what: str) -> ValueError:
        return ValueError(f"schema {self.schema!r}: {where} {what}")

    def _name(self, entry: Any, key: str, taken: Any) -> str:
        if not isinstance(entry, dict):
            raise self._error(f"every one of {key}", f"needs 'name' and 'kind', got {entry!r:.80}")
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise self._error(f"every one of {key}", f"needs a 'name' of printable text, got {entry!r:.80}")
        if name in taken:
            raise self._error(f"{key}:", f"the name {name!r} is taken; give every point and measure its own")
        return name

    def _kind(self, entry: Definition, where: str, kinds: Any) -> str:
        kind = entry.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            near = did_you_mean([kind], kinds) if isinstance(kind, str) else ""
            raise self._error(where, f"got kind {kind!r}{near}; the kinds are {list(kinds)}")
        return kind

    def _keys(self, entry: Definition, where: str, needed: Sequence[str], allowed: Sequence[str]) -> None:
        """Raise ValueError unless an entry has all the needed keys and no unknown one."""
        names = [name for key in needed for name in key.split("|")]
        known = [*names, *allowed]
        unknown = [key for key in map(str, entry) if key not in known]
        if unknown:
            raise self._error(
                where, f"has unknown {unknown}{did_you_mean(unknown, known)}; known are {known}"
            )
        for key in needed:
            if sum(name in entry for name in key.split("|")) != 1:
                words = " or ".join(map(repr, key.split("|")))
                raise self._error(where, f"of kind {entry['kind']!r} needs {words}")

    def _derived_point(self, entry: Definition, where: str) -> Definition:
        kind = self._kind(entry, where, DERIVED)
        self._keys(entry, where, DERIVED[kind], ("name", "kind", "source"))
        self._check_source(entry, where)
        if kind == "intersection" and self.dims == 3:
            raise self._error(where, "is an intersection, but two lines seldom meet in 3D; use a projection")
        return self._with_points(entry, where, None)

    def _measure(self, entry: Any, where: str, inner: bool = False) -> tuple[Definition, str]:
        """Return a checked definition and what it is measured in."""
        if not isinstance(entry, dict):
            raise self._error(where, f"has a part {entry!r:.80}, which is no name and no definition")
        kind = self._kind(entry, where, MEASURES)
        quantity, needed, optional = MEASURES[kind]
        self._keys(entry, where, needed, [*(_COMMON[1:2] if inner else _COMMON), *optional])
        if kind == "cobb":
            self._check_cobb(entry, where)
        checked = self._with_points(entry, where, _COUNTS.get(kind))
        if "scale" in entry and (entry["scale"] != "reference_length" or not self.has_reference):
            raise self._error(where, "needs 'reference_length' as 'scale', and a schema that has one")
        if kind in ("ratio", "sum"):
            of_parts = self._parts(checked, where, kind)
            quantity = quantity or of_parts
        elif "scale" in entry:
            quantity = "reference length"
        self._check_source(entry, where)
        if "classes" in entry:
            checked["classes"] = checked_classes(entry["classes"], f"schema {self.schema!r}: {where}")
        return checked, quantity

    def _check_source(self, entry: Definition, where: str) -> None:
        if not isinstance(entry.get("source", ""), str):
            raise self._error(where, f"needs text as 'source', got {entry['source']!r:.80}")

    def _check_cobb(self, entry: Definition, where: str) -> None:
        curve, points = entry["curve"], entry["points"]
        if isinstance(curve, bool) or curve not in CURVES:
            raise self._error(where, f"has curve {curve!r}, which is none of {list(CURVES)}")
        if not isinstance(points, list | tuple) or len(points) % 4 or len(points) < 12 or self.dims != 2:
            raise self._error(
                where,
                "needs in 2D the corners of at least 3 vertebrae from the top: top left, top right, bottom "
                f"left, bottom right; got {len(points) if isinstance(points, list | tuple) else points!r}",
            )

    def _parts(self, checked: Definition, where: str, kind: str) -> str:
        """Check the measures that a measure is made of, in place; return what they are measured in."""
        quantities = []
        for key in [key for key in _PARTS if key in checked]:
            parts = checked[key]
            if not isinstance(parts, list | tuple) or not parts or (kind == "ratio" and len(parts) != 2):
                words = "two" if kind == "ratio" else "a list of"
                raise self._error(where, f"needs {words} measures as {key!r}, got {parts!r:.80}")
            kept = []
            for part in parts:
                definition, quantity = self._part(part, where)
                kept.append(definition)
                quantities.append(quantity)
            checked[key] = kept
        if len(set(quantities)) != 1:
            raise self._error(where, f"mixes {' and '.join(sorted(set(quantities)))}: it has no unit")
        return quantities[0]

    def _part(self, part: Any, where: str) -> tuple[Any, str]:
        if where.count(_PART) == _DEEPEST:
            raise self._error(where, f"has more than {_DEEPEST} measures inside of each other; name some")
        if not isinstance(part, str):
            return self._measure(part, where + _PART, inner=True)
        if part not in self._quantities:
            near = did_you_mean([part], self._quantities)
            raise self._error(
                where, f"names measure {part!r}{near}; those before it are {list(self._quantities)}"
            )
        return part, self._quantities[part]

    def _with_points(self, entry: Definition, where: str, count: int | None) -> Definition:
        """Return a copy of an entry with checked points of its own; its parts are checked later."""
        for key in ("points", "lines", "line", "sign_along"):
            value = entry.get(key, [])
            is_axis = isinstance(value, str) and key in ("line", "sign_along")
            if not isinstance(value, list | tuple) and not is_axis:
                raise self._error(where, f"needs a list as {key!r}, got {value!r:.80}")
        lines = entry.get("lines", [0, 0])
        if len(lines) != 2:
            raise self._error(where, f"needs two lines, each a pair of points or an axis; got {lines!r:.80}")
        for line in [*entry.get("lines", []), *(entry[k] for k in ("line", "sign_along") if k in entry)]:
            self._check_line(line, where)
        points = entry.get("points")
        if points is not None and len(points) != (count or len(points)):
            raise self._error(
                where, f"has {list(points)}, which is not {_WORDS[count or 0]} points of the schema"
            )
        if points is not None and len(points) < 2:
            raise self._error(where, f"needs at least two points, got {list(points)}")
        own = {key: value for key, value in entry.items() if key not in _PARTS}
        checked = map_points(own, lambda point: self._point(point, where))
        for group in _groups(checked):
            if len(set(group)) != len(group):
                raise self._error(where, f"has a point twice: {group}")
        return dict(entry, **checked)

    def _check_line(self, line: Any, where: str) -> None:
        axes = AXES[: self.dims]
        if isinstance(line, str) and line not in axes:
            raise self._error(
                where, f"has line {line!r}, which is neither a pair of points nor one of {axes}"
            )
        if not isinstance(line, str) and (not isinstance(line, list | tuple) or len(line) != 2):
            raise self._error(where, f"has line {line!r:.80}, which is neither a pair of points nor an axis")

    def _point(self, point: Any, where: str) -> int | str:
        names = list(self.landmarks)
        if isinstance(point, str) and point in names:
            return names.index(point)
        if isinstance(point, str) and point in self._derived:
            return point
        if isinstance(point, str):
            known = [*names, *self._derived]
            raise self._error(
                where, f"names point {point!r}{did_you_mean([point], known)}; known are {known}"
            )
        if isinstance(point, bool) or not isinstance(point, int) or not 0 <= point < len(names):
            raise self._error(
                where, f"has point {point!r:.80}, which is not one of 0..{len(names) - 1} and no name"
            )
        return point


def map_points(definition: Definition, change: Callable[[Any], Any]) -> Definition:
    """Return a copy of a definition with every point changed, also those of its inner measures."""

    def line(value: Any) -> Any:
        return value if isinstance(value, str) else [change(point) for point in value]

    def part(value: Any) -> Any:
        return map_points(value, change) if isinstance(value, dict) else value

    changed = {}
    for key, value in definition.items():
        if key in ("point", "positive"):
            value = change(value)
        elif key == "points":
            value = [change(point) for point in value]
        elif key in ("line", "sign_along"):
            value = line(value)
        elif key == "lines":
            value = [line(one) for one in value]
        elif key in _PARTS and isinstance(value, list | tuple):
            value = [part(one) for one in value]
        changed[key] = value
    return changed


def points_of(definition: Definition) -> set[int | str]:
    """Return the landmarks (indices) and derived points (names) that a checked definition uses itself."""
    found: set[int | str] = set()

    def note(point: int | str) -> int | str:
        found.add(point)
        return point

    map_points(definition, note)
    return found


def measures_of(definition: Definition) -> set[str]:
    """Return the names of the measures that a checked definition is made of."""
    return {
        name
        for key in _PARTS
        for part in definition.get(key, ())
        for name in ([part] if isinstance(part, str) else measures_of(part))
    }


def is_scaled(definition: Definition) -> bool:
    """Return whether a definition or a part of it needs the schema's reference length."""
    parts = [part for key in _PARTS for part in definition.get(key, ()) if isinstance(part, dict)]
    return "scale" in definition or any(map(is_scaled, parts))


def quantity_of(definition: Definition, others: dict[str, Definition]) -> str:
    """Return ``angle``, ``length``, ``reference length`` (in mm by that) or ``ratio``.

    Args:
        definition: The measure.
        others: Measures of the schema by name.
    """
    if definition["kind"] != "sum":
        return "reference length" if "scale" in definition else MEASURES[definition["kind"]][0]
    part = definition["plus"][0]
    return quantity_of(others[part] if isinstance(part, str) else part, others)


def kept_definitions(
    derived: Sequence[Definition],
    measures: Sequence[Definition],
    new: dict[int, int],
    has_reference: bool,
) -> tuple[tuple[Definition, ...], tuple[Definition, ...]]:
    """Return the derived points and measures of some landmarks, with their new indices.

    Args:
        derived: Checked derived points.
        measures: Checked measures.
        new: Old index -> new index of the kept landmarks.
        has_reference: Whether the reference length is kept.
    """
    known: set[int | str] = set(new)
    points, values = [], []
    for entry in derived:
        if points_of(entry) <= known:
            points.append(map_points(entry, lambda point: new.get(point, point)))
            known.add(entry["name"])
    names: set[str] = set()
    for entry in measures:
        whole = points_of(entry) <= known and measures_of(entry) <= names
        if whole and (has_reference or not is_scaled(entry)):
            values.append(map_points(entry, lambda point: new.get(point, point)))
            names.add(entry["name"])
    return tuple(points), tuple(values)


def _groups(definition: Definition) -> Iterator[list]:
    """Yield the lists of a definition's own points that must differ."""
    for key in ("points", "line", "sign_along"):
        if isinstance(definition.get(key), list):
            yield definition[key]
    yield from (line for line in definition.get("lines", ()) if isinstance(line, list))
    if "line" in definition and "point" in definition and not isinstance(definition["line"], str):
        yield [definition["point"], *definition["line"]]
