"""A script runs as Python runs it: exit codes, tracebacks and the moment of an import."""

import sys

import pytest

from icshift.errors import RecordingError
from icshift.launch import script


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """What running a script changes for the whole process is put back."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)  # That of torch.distributed names the process.


@pytest.mark.parametrize(
    ("code", "expected", "stderr"),
    [
        ("", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('no data')", 1, "no data\n"),
        ("raise KeyboardInterrupt", None, "KeyboardInterrupt\n"),
        ("class Own(KeyboardInterrupt): ...\nraise Own", 1, "Own\n"),
        ("import sys; sys.exit(-2)", -2, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_the_exit_code_is_pythons(code, expected, stderr, tmp_path, capsys):
    (tmp_path / "a.py").write_text(code)
    assert script.run(script.prepare(str(tmp_path / "a.py"), [], module=False)) == expected
    assert capsys.readouterr().err.endswith(stderr)


def test_frames_of_icshift_are_in_no_traceback(tmp_path, capsys):
    (tmp_path / "a.py").write_text(
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError from error\n"
    )
    script.run(script.prepare(str(tmp_path / "a.py"), [], module=False))
    shown = capsys.readouterr().err
    assert shown.count("a.py") == 2
    assert "icshift" not in shown.replace(str(tmp_path), "")


def test_an_import_that_fails_has_no_frames_but_those_of_python(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_in_test_script.py").write_text("1 / 0")
    (tmp_path / "a.py").write_text("import failing_in_test_script")
    script.when_imported("failing_in_test_script", lambda: None)
    script.run(script.prepare(str(tmp_path / "a.py"), [], module=False))
    shown = capsys.readouterr().err
    assert [line.split('"')[1].rsplit("/", 1)[-1] for line in shown.splitlines() if line.startswith("  File")] == [
        "a.py",
        "failing_in_test_script.py",
    ]


def test_a_script_sees_its_arguments_its_folder_and_itself(tmp_path, capsys):
    (tmp_path / "beside.py").write_text("word = 'beside'")
    code = (
        "import sys, beside\nprint(__name__, sys.argv[1:], beside.word, sys.modules['__main__'].__file__ == __file__)"
    )
    (tmp_path / "a.py").write_text(code)
    assert script.run(script.prepare(str(tmp_path / "a.py"), ["--lr", "1"], module=False)) == 0
    assert capsys.readouterr().out == "__main__ ['--lr', '1'] beside True\n"


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("nowhere.py", False, r"no such script: nowhere\.py; for a module say: icshift run -m nowhere\.py"),
        ("folder", False, r"folder is a directory without __main__\.py"),
        ("no_such_module_here", True, "no module named no_such_module_here"),
        ("json", True, r"no module named json\.__main__"),
        ("", True, "no module named"),
    ],
)
def test_what_cannot_run_is_said_before_anything_runs(name, module, expected, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordingError, match=expected):
        script.prepare(name, [], module=module)


def test_a_module_is_acted_on_once_right_after_its_import(tmp_path, monkeypatch):
    (tmp_path / "imported_by_test_script.py").write_text("value = 3")
    monkeypatch.syspath_prepend(tmp_path)
    values = []
    script.when_imported("imported_by_test_script", lambda: values.append(sys.modules["imported_by_test_script"].value))
    assert values == []
    import imported_by_test_script as module

    assert values == [3]
    assert type(module.__loader__) is type(module.__spec__.loader)
    assert type(module.__loader__).__module__.startswith(("importlib", "_frozen_importlib", "_pytest"))
    script.when_imported("imported_by_test_script", lambda: values.append("at once"))
    assert values == [3, "at once"]
    del sys.modules["imported_by_test_script"]
