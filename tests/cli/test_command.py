"""What all commands have in common: help in words, one plain line for every wrong value, and options given once."""

import re

import pytest
import typer

from icshift.cli.command import RENAMED
from icshift.cli.main import app

COMMANDS = typer.main.get_command(app).commands
VALUED = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag
]
TYPES = re.compile(r"<\w|list\[|Input should|valid integer|valid number|pydantic|Traceback|Error\b|>=x|x>=|None")
"""What speaks of types and not of what to give."""

NEEDED = {"units": ["--site", "fc1"], "check": ["--fail-on", "w1_sd > 9"], "export": ["-o", "-"]}
ANYTHING = {"output", "junit", "table", "to", "unit", "window", "after", "top", "every", "figure", "theme"}
"""Options that take any path, those whose wrong values typer refuses, and those of a figure alone."""


def ids(case):
    return case if isinstance(case, str) else case.opts[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_what_to_give_and_no_types(name, printed):
    text = printed(name, "--help")
    assert not TYPES.search(text.replace("`none`", ""))
    assert " VALUE" not in text.replace("NAME=VALUE", "")


def kind(option):
    described = option.type_descriptor
    return "choice" if described.choices is not None else described.annotation


TYPED = [(name, option) for name, option in VALUED if kind(option) in (int, float, "choice")]


@pytest.mark.covering(1)
@pytest.mark.parametrize(("name", "option"), TYPED, ids=ids)
@pytest.mark.parametrize("value", ["many", "", "1.5x", "٣x"])
def test_a_value_of_another_type_is_one_plain_line(name, option, value, refused):
    said = refused(name, option.opts[-1], value)
    assert option.opts[0] in said
    assert not TYPES.search(said)
    assert re.search("no whole number|no number|must be|expected|not one of", said)


NAMED = [
    (name, option)
    for name, option in VALUED
    if kind(option) not in (int, float)
    and "RUN" in str(COMMANDS[name].params[0].metavar)
    and option.name not in ANYTHING
]


@pytest.mark.parametrize(("name", "option"), NAMED, ids=ids)
def test_a_name_that_is_not_there_is_one_plain_line(name, option, two_windows, refused):
    given = [] if option.opts[0] in NEEDED.get(name, []) else NEEDED.get(name, [])
    said = refused(name, two_windows, *given, option.opts[0], "n0where")
    assert "n0where" in said
    assert not TYPES.search(said)


@pytest.mark.parametrize("option", ["--figure", "--theme", "--unit"])
def test_a_figure_that_is_not_there(option, two_windows, refused):
    said = refused("report", two_windows, "-o", "x.svg", option, "n0where")
    assert "n0where" in said
    assert not TYPES.search(said)


@pytest.mark.parametrize("name", ["report", "units", "check"])
@pytest.mark.parametrize("window", ["-1", "99", "n0where"])
def test_a_window_that_is_not_there(name, window, two_windows, refused):
    said = refused(name, two_windows, *NEEDED.get(name, []), "--window", window)
    assert f"no window {window!r}" in said or "counted from 1; --window last is the last one" in said


@pytest.mark.parametrize(("name", "option"), RENAMED)
def test_an_option_that_is_gone_says_what_to_give(name, option, refused):
    for given in ([option, "x"], [f"{option}=x"]):
        assert f"{option} is gone: give {RENAMED[name, option]}" in refused(name, "x", *given)


ONCE = [(name, option) for name, option in VALUED if not option.multiple]


@pytest.mark.some(30)
@pytest.mark.parametrize(("name", "option"), ONCE, ids=ids)
def test_no_option_keeps_its_last_value_silently(name, option, refused):
    for spelling in {option.opts[0], option.opts[-1]}:
        said = refused(name, option.opts[0], "1", f"{spelling}={1}" if spelling.startswith("--") else f"{spelling}1")
        assert f"{' or '.join(option.opts)} is given 2 times" in said


def test_the_last_file_is_not_kept_silently_where_several_are_written(refused):
    data = "--data", "x.npz", "--loss", "mse"
    assert "-o a.csv is given twice" in refused("landscape", "net.pt", *data, "-o", "a.csv", "-o", "a.csv")
    data = "--reference", "x.npz", "--data", "y.npz"
    assert "-o a is given twice" in refused("shift", "net.pt", *data, "-o", "a", "-o", "a")


@pytest.mark.parametrize(
    "arguments", [["run"], ["demo"], ["analyze", "net.pt", "--data", "x.npz"]], ids=lambda one: one[0]
)
def test_a_directory_is_not_called_like_a_file(arguments, refused):
    script = ["train.py"] if arguments == ["run"] else []
    said = refused(*arguments, "-o", "page.html", *script)
    assert "page.html is the name of a file, and a directory is written: take page" in said
