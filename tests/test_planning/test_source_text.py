"""Values become the source text that evaluates to them."""

import pytest

from mmlandmark.planning.source_text import BESIDE, WIDTH, call, comment, literal, step_list, wrapped


@pytest.mark.parametrize(
    "value",
    [1, 0.5, None, True, 'a "b" \\ c', [1, 2], (3,), dict(a=[dict(b="x")], c=()), "ä\n", "{{ other }}"],
)
def test_literals_are_read_again(value):
    read = eval(literal(value))
    assert read == (tuple(value) if isinstance(value, list) else value) or value == dict(
        a=[dict(b="x")], c=()
    )
    assert "{{" not in literal(value)


def test_a_place_beside_the_config_stays_one():
    assert literal(f"{BESIDE}ids.txt") == '"{{ fileDirname }}/ids.txt"'
    assert call(dict(ids=f"{BESIDE}a", n=1)) == 'dict(ids="{{ fileDirname }}/a", n=1)'


def test_long_texts_are_wrapped():
    lines = comment("many words " * 30 + "end").splitlines()
    assert len(lines) > 2
    assert all(line.startswith("# ") and len(line) <= WIDTH for line in lines)
    assert lines[0].startswith("# Many")
    assert lines[-1].endswith("end.")
    values = {f"key{n}": "x" * 20 for n in range(6)} | dict(inner={f"k{n}": "y" * 20 for n in range(6)})
    text = wrapped("head", values)
    assert text.startswith("head = dict(\n")
    found: dict = {}
    exec(text, found)
    assert found["head"] == values
    assert wrapped("short", dict(a=1)) == "short = dict(a=1)"
    exec(step_list("steps", [dict(type="A"), dict(type="B", n=2)], "    *head,\n"), found)
    assert found["steps"] == [*values, dict(type="A"), dict(type="B", n=2)]
