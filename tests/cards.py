"""Reads the cards that objects show in a notebook, and holds each to what every card must keep."""

from xml.etree import ElementTree

ALLOWED = {"div", "table", "tr", "th", "td", "svg", "rect", "path", "text", "title"}
"""No script, no style, no link, no picture from anywhere."""


class Card:
    """A card: `facts` by name, `told` by each mark of its chart, and all its `text`."""

    def __init__(self, html):
        root = ElementTree.fromstring(html)
        elements = list(root.iter())
        assert {tag(element) for element in elements} <= ALLOWED
        for element in elements:
            assert not [
                name for name in element.attrib if name.startswith("on") or name in ("href", "src", "class", "id")
            ]
            # The colour is that of the text around, in light and in dark.
            assert element.get("fill", "currentColor") == element.get("stroke", "currentColor") == "currentColor"
            assert "url(" not in element.get("style", "")
        rows = [element for element in elements if tag(element) == "tr"]
        self.facts = {row[0].text: row[1].text for row in rows}
        self.marks = [element for element in elements if tag(element) in ("rect", "path")]
        self.told = [mark[0].text for mark in self.marks]
        self.text = " ".join(element.text for element in elements if element.text)


def tag(element):
    return element.tag.rpartition("}")[2]


HOSTILE = "<script>alert(1)</script>\"'&\n\x1b[31m]]>"
"""A name that must not reach a notebook as it is."""
