"""Names that others chose print nothing but themselves, in every table, heading and line."""

import unicodedata

import pytest
from rich.text import Text

from icshift.cli import output
from icshift.reports.harmless import INSTEAD, harmless, harmless_lines
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet

HARMFUL = [
    *("\x1b", "\a", "\b", "\r", "\n", "\t", "\x7f"),
    *("\x85", "\x9b", "\u2028", "\u2029", "\u202e", "\u2066", "\ud800"),
]


@pytest.mark.parametrize("sign", HARMFUL)
def test_it_is_replaced_by_one_sign(sign):
    assert harmless(f"a{sign}b") == f"a{INSTEAD}b"
    assert harmless_lines(Text(f"a{sign}b")).plain in (("a\nb",) if sign == "\n" else (f"a{INSTEAD}b", "ab"))


@pytest.mark.parametrize("name", ["encoder.layers.0", "Schicht/層 1", 'a<b>&"x"', "é", "مرحبا", "[red]", "🙂"])
def test_other_names_stay(name):
    assert harmless(name) == name


def test_every_control_and_every_turn_of_direction_is_known():
    for code in range(0x110000):
        sign = chr(code)
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        ):
            assert harmless(sign) == INSTEAD, hex(code)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("sign", [sign for sign in HARMFUL if sign != "\ud800"])
def test_none_reaches_the_screen(sign, encoding, capfdbinary, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8" if encoding == "utf-8" else "C")
    name = f"x{sign}[31my"
    columns = [Column(name, ["1.0", Text(name, style="red")])]
    lines = (Text(name), name, Sheet("site", [name, "other"], columns))
    report = Report(heading="a · b", body=lines, notes=(name,), verdict=name, next_step=name, data={})
    output.show(report)
    output.print_line(name)
    printed = capfdbinary.readouterr().out.decode()
    assert set(sign) & set(printed) <= {"\n"}
    assert printed.count("[31my") == 9
