"""Every fault of a file is one line that begins with the file, and is safe to print."""

import os
import warnings

import pytest

from icshift.errors import ModelError
from icshift.saved.faults import as_model_error, file_beside, first_few, one_line, regular, summary_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelError("is empty"), "x.pt: is empty"),
        (RecursionError(), "x.pt: is nested too deeply for a saved model; save it anew"),
        (MemoryError(), "x.pt: asks for more memory than there is"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "x.pt: asks for more memory than there is"),
        (PermissionError(13, "Permission denied"), "x.pt: cannot be read: Permission denied"),
        (OSError(22, "Invalid argument"), "damaged or cut short (OSError: [Errno 22] Invalid argument)"),
        (KeyError("weight"), "damaged or cut short (KeyError: 'weight'); save it anew"),
        (ValueError("one\ntwo"), "(ValueError: one)"),
    ],
)
def test_every_error_becomes_one_line(error, expected):
    with pytest.raises(ModelError) as raised, as_model_error("x.pt"):
        raise error
    assert str(raised.value).startswith("x.pt: ")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


def test_ctrl_c_is_no_fault_of_the_file():
    with pytest.raises(KeyboardInterrupt), as_model_error("x.pt"):
        raise KeyboardInterrupt


def test_warnings_of_parsers_are_quiet_within_alone():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with as_model_error("x.pt"):
            warnings.warn("of a parser", stacklevel=1)
        warnings.warn("of somebody else", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["of somebody else"]


def test_what_is_printed_has_an_end_and_no_control_characters():
    assert one_line("a\r\n\tb \x1b[31mred\x00") == "a b [31mred"
    assert len(one_line("x" * 10_000)) == 600
    assert len(summary_of(ValueError("x" * 10_000))) == len("ValueError: ") + 160


def test_the_first_of_many_names():
    assert first_few([]) == ""
    assert first_few("abcd") == "a, b, c, d"
    assert first_few("abcdef") == "a, b, c, d and 2 more"
    assert len(first_few(["x" * 200])) == 80


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "a\\b", "", ".", "..", "c:x", "a\0b", None, 3])
def test_a_file_elsewhere_is_not_followed(name, tmp_path):
    with pytest.raises(ModelError, match="such a path is not followed"):
        file_beside(tmp_path, name)


def test_a_file_beside_has_to_be_there_and_regular(tmp_path):
    (tmp_path / "there").touch()
    assert file_beside(tmp_path, "there") == tmp_path / "there"
    with pytest.raises(ModelError, match="nowhere is missing"):
        file_beside(tmp_path, "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="pipe is no regular file"):
        regular(tmp_path / "pipe")
