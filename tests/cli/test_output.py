"""How reports reach the screen, and what is refused before it is written."""

import io
import json
import os
import shutil
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


INTO_A_RUN = {
    "export": ("export", "{run}", "-o", "{run}/run.json"),
    "export of a window": ("export", "{run}", "-o", "{run}/windows/000001.rank0.parquet"),
    "export for a dashboard": ("export", "{run}", "--to", "tensorboard", "-o", "{run}/windows/board"),
    "export of another run": ("export", "{other}", "-o", "{run}/run.json"),
    "a new file": ("export", "{run}", "-o", "{run}/steps/new.csv"),
    "report": ("report", "{run}", "-o", "{run}/run.json"),
    "compare": ("compare", "{run}", "{other}", "-o", "{run}/run.json"),
    "check": ("check", "{run}", "--fail-on", "ks > 0.9", "--junit", "{run}/run.json"),
    "ls": ("ls", "{run}", "-o", "{run}/run.json"),
    "drift": ("drift", "{run}/a.npy", "{run}/b.npy", "-o", "{run}/run.json"),
    "demo": ("demo", "-o", "{run}/windows"),
    "run": ("run", "-o", "{run}/windows", "{run}/train.py"),
    "run in a new folder": ("run", "-o", "{run}/windows/new", "{run}/train.py"),
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", INTO_A_RUN)
def test_no_command_writes_into_the_files_of_a_run(name, force, two_windows, tmp_path, refused):
    run = shutil.copytree(two_windows, tmp_path / "run")
    (run / "train.py").touch()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    command, *rest = (part.format(run=run, other=two_windows) for part in INTO_A_RUN[name])
    said = refused(command, *(["--force"] if force else []), *rest)
    assert f"belongs to the run {run}" in said
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("force", [False, True])
def test_a_file_beside_the_manifest_is_written(force, two_windows, tmp_path, command):
    run = shutil.copytree(two_windows, tmp_path / "run")
    if force:
        (run / "drift.csv").write_text("old")
    assert command("export", run, "-o", run / "drift.csv", *(["-f"] if force else []))[0] == 0
    assert (run / "drift.csv").read_text().startswith("run,")


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
