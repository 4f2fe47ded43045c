"""XML without entities."""

from __future__ import annotations

import pytest

from mmlandmark.utils.safe_xml import read_elements

TEXT = """<?xml version="1.0" encoding="utf-8"?>
<a>
  <skipped><b x="0"/></skipped>
  <b x="1"><c>one &amp; <d y="2">two</d></c></b>
  <b x="3"/>
</a>
"""


def read(tmp_path, text, wanted="a/b"):
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_elements(path, {wanted}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_wanted_elements_with_all_in_them(tmp_path, encoding):
    first, second = read(tmp_path, TEXT.replace("utf-8", encoding).encode(encoding))
    assert (first.path, first.name, first.attributes, first.line) == ("a/b", "b", {"x": "1"}, 4)
    assert [(child.path, child.text) for child in first.children] == [("a/b/c", "one & ")]
    assert first.children[0].children[0].attributes == {"y": "2"}
    assert (second.line, second.children) == (5, [])


def test_elements_come_while_the_file_is_read(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<a>" + "<b/>" * 50_000 + "<b>")
    elements = read_elements(path, {"a/b"})
    assert next(elements).line == 1
    with pytest.raises(ValueError, match=r"a.xml, line 1: not valid XML: no element found"):
        list(elements)


BOMB = "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'><!ENTITY y '&x;&x;&x;&x;&x;&x;&x;&x;'>]><a><b>&y;</b></a>"
FILE = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>\n<a><b>&x;</b></a>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"a.xml, line 1: document types and entities are not read"),
        (FILE, r"a.xml, line 1: document types and entities are not read"),
        ("<!DOCTYPE a SYSTEM 'a.dtd'><a/>", r"a.xml, line 1: document types and entities are not read"),
        ("<a>\n<b>&x;</b></a>", r"a.xml, line 2: not valid XML: undefined entity"),
        ("<a>\n<b></a>", r"a.xml, line 2: not valid XML: mismatched tag"),
        ("", r"a.xml, line 1: not valid XML: no element found"),
        ("\0", r"a.xml, line 1: not valid XML"),
        ('<?xml version="1.0" encoding="utf-9"?><a/>', r"a.xml, line 1: not valid XML: unknown encoding"),
        ("<a>" * 40, r"a.xml, line 1: elements are nested too deeply"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)
