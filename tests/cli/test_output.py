"""How reports reach the screen, and what is refused before it is written."""

import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.text import Text

from icshift.cli.output import refuse, refuse_file, show, warn, write_file
from icshift.errors import RunError
from icshift.reports.report import Report

LONG = "/a/very/long/path" * 8
INNER = Report(heading="inner", body=("line",), notes=("inner note",))
REPORT = Report(
    heading="first\nsecond",
    body=(INNER, "", LONG, lambda width: f"{width} columns", Text("word " * 30)),
    notes=("note " * 30,),
    warnings=(f"warning {LONG}",),
    verdict="one failed",
    next_step="Next: more",
    data={"value": float("nan")},
)


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_order_on_the_screen(capsys):
    show(REPORT)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == ["first", "second", "inner", "line", "inner note", "", LONG]
    assert lines[7] == "80 columns"
    assert [line.split()[0] for line in lines[8:12]] == ["word", "word", "note", "note"]
    assert max(map(len, lines[8:12])) <= 80
    assert lines[12:] == [f"warning {LONG}", "one failed", "Next: more"]


def test_quiet_leaves_out_the_next_step(capsys):
    show(REPORT, quiet=True)
    assert capsys.readouterr().out.splitlines()[-1] == "one failed"


def test_json_is_the_data_and_nothing_else(capsys):
    show(REPORT, json=True)
    assert json.loads(capsys.readouterr().out) == {"value": None}


def test_colours_only_where_they_are_wanted(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = (show(REPORT, no_color=no_color) or capsys.readouterr().out for no_color in (False, True))
    assert "\x1b[33mwarning" in coloured
    assert "\x1b[33m" not in plain


def test_stderr_takes_warnings(capsys):
    show(Report(body=("said",)), stderr=True)
    warn(["beware"], no_color=True)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "said\nicshift: beware\n")


def test_characters_that_the_screen_lacks_are_no_error(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    show(Report(body=("é ▁▂ 数",)))
    sys.stdout.flush()
    assert raw.getvalue() == "é _. ?\n".encode("latin-1")


def test_what_exists_is_refused(tmp_path):
    path = tmp_path / "file"
    refuse(path, force=False)
    refuse_file(path, force=False)
    path.write_text("mine")
    for ask in (refuse, refuse_file):
        with pytest.raises(RunError, match=r"file exists and is kept: choose another path, or --force"):
            ask(path, force=False)
        ask(path, force=True)
    with pytest.raises(RunError, match="exists and is kept"):
        write_file(path, b"", force=False)
    assert path.read_text() == "mine"
    write_file(path, b"new", force=True)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["new"]


def test_where_no_file_can_be_is_refused(tmp_path):
    with pytest.raises(RunError, match="is a directory; give the path of a file"):
        refuse_file(tmp_path, force=True)
    with pytest.raises(RunError, match="there is no directory"):
        refuse_file(tmp_path / "none" / "file", force=False)


def test_a_pipe_that_has_a_name_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_file(pipe, b"a,b\n", force=True)
        assert read.result(timeout=30) == b"a,b\n"
    assert pipe.is_fifo()
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]
