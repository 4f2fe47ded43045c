"""Text of unknown origin in XML: what XML 1.0 cannot hold would end the whole file."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

# Not even as a reference: XML 1.0, production 2.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: object) -> str:
    """Return text as the content of an element; what XML cannot hold becomes U+FFFD.

    Example:
        >>> xml_text("a < b")
        'a &lt; b'
    """
    return escape(_clean(text), {"\r": "&#13;"})


def xml_attribute(text: object) -> str:
    """Return text as the value of an attribute, in quotes; what XML cannot hold becomes U+FFFD."""
    return quoteattr(_clean(text))


def _clean(text: object) -> str:
    return _FORBIDDEN.sub("\ufffd", str(text))
