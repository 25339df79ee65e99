"""Options that commands share: the same name and the same help everywhere, and what `--samples` takes."""

import inspect
from typing import get_args, get_type_hints

import pytest
import typer

from icshift.cli import options
from icshift.cli.main import app

COMMANDS = {name: command.callback for name, command in typer.main.get_command(app).commands.items()}


@pytest.mark.parametrize(("text", "expected"), [("2", 2), ("1024", 1024), ("007", 7), ("all", "all")])
def test_samples(text, expected):
    assert options.samples(text) == expected


@pytest.mark.parametrize("text", ["1", "0", "-3", "", "2.5", "1e3", "²", "٣", "ALL", "some"])
def test_samples_that_make_no_quantiles_are_refused(text):
    with pytest.raises(typer.BadParameter, match="expected a number from 2, or all; got ") as raised:
        options.samples(text)
    assert repr(text) in str(raised.value)


def shared():
    """By parameter: the commands that have it, and how each says what it is."""
    found = {}
    for name, command in COMMANDS.items():
        hints = get_type_hints(command, include_extras=True)
        for parameter in inspect.signature(command).parameters:
            if len(told := get_args(hints[parameter])) > 1:  # The others are none of the user's.
                found.setdefault(parameter, {})[name] = told[1]
    return found


@pytest.mark.parametrize(
    ("parameter", "option"),
    [
        ("json", options.AsJson),
        ("quiet", options.Quiet),
        ("no_color", options.NoColor),
        ("force", options.Force),
        ("top", options.Top),
        ("reference", options.Reference),
    ],
)
def test_an_option_of_several_commands_is_one(parameter, option):
    """Except that --top of eigenvalues and --reference of data are other things, and are called so."""
    others = {"top": {"landscape"}, "reference": {"shift"}}.get(parameter, set())
    said = {name: found.help for name, found in shared()[parameter].items() if name not in others}
    assert len(said) > 1
    assert set(said.values()) == {get_args(option)[1].help}


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "-o", ""],
        ["run", "-o", " ", "train.py"],
        ["analyze", "net.pt", "--data", "x.npz", "-o", ""],
        ["shift", "net.pt", "--reference", "x.npz", "--data", "y.npz", "-o", ""],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_empty_directory_is_not_the_current_one(arguments, tmp_path, monkeypatch, refused):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "it is empty" in refused(*arguments)
    assert not list((tmp_path / "here").iterdir())
