"""Checks as JUnit XML, which CI servers show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from icshift.reports.harmless import in_one_direction

_NOT_XML = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, lone surrogates and others that XML 1.0 has no way to write, or would rather not."""


@dataclass(frozen=True)
class Case:
    """One check: `subject` is what it is about (a site), `name` its condition, `message` explains the outcome."""

    subject: str
    name: str
    outcome: Literal["passed", "failure", "error", "skipped"]
    message: str


def as_junit(suite: str, cases: Sequence[Case]) -> bytes:
    """Returns a document of one test suite. A case that did not pass has its message in an element of that name."""
    totals = {"tests": str(len(cases))}
    for outcome, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        totals[plural] = str(sum(case.outcome == outcome for case in cases))
    root = ET.Element("testsuites", totals)
    parent = ET.SubElement(root, "testsuite", {"name": _writable(suite), **totals})
    for case in cases:
        element = ET.SubElement(parent, "testcase", classname=_writable(case.subject), name=_writable(case.name))
        if case.outcome == "passed":
            ET.SubElement(element, "system-out").text = _writable(case.message)
        else:
            ET.SubElement(element, case.outcome, message=_writable(case.message))
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _writable(text: str) -> str:
    return in_one_direction(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
