"""Any text in XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from mmlandmark.utils.xml_text import xml_attribute, xml_text


@pytest.mark.parametrize("text", ['<a href="x">&amp;\'</a>', "two\nlines\tand\r\nmore", "Größe \U0001f9b4"])
def test_text_comes_back(text):
    root = ElementTree.fromstring(f"<a b={xml_attribute(text)}>{xml_text(text)}</a>")
    assert (root.attrib["b"], root.text) == (text, text)


@pytest.mark.parametrize("code", [0, 1, 8, 11, 12, 0x1F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_what_xml_cannot_hold_is_marked(code):
    text = f"a{chr(code)}b"
    root = ElementTree.fromstring(f"<a b={xml_attribute(text)}>{xml_text(text)}</a>".encode())
    assert (root.attrib["b"], root.text) == ("a\ufffdb", "a\ufffdb")
