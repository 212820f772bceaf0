"""Anchors of headings, as GitHub makes them, so that a link works there and on the site."""

import re


def anchor(heading: str, separator: str = "-") -> str:
    """Return the anchor of a heading; MkDocs calls it with its separator."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)
