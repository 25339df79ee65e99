"""What options and arguments take, as typer and pydantic would, and told in plain words."""

import math
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.models import OptionInfo

from icshift.cli.main import app
from icshift.cli.values import Values, convert_plainly

COMMANDS = typer.main.get_command(app).commands


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Described:
    def __init__(self, annotation, **info):
        self.annotation, self.parameter_info = annotation, OptionInfo(**info)


class Param:
    """An option as typer makes one: its kind, and what converts its values."""

    def __init__(self, annotation, **info):
        self.type_descriptor, self._runtime_param = Described(annotation, **info), None
        convert_plainly([self])

    def __call__(self, value):
        return self._runtime_param.coerce(value, None, None)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (str, "a b", "a b"),
        (Path, "a/b", Path("a/b")),
        (Path, Path("a"), Path("a")),
        (int, "12", 12),
        (int, " -3 ", -3),
        (int, 7, 7),
        (float, "1e-3", 0.001),
        (float, "inf", math.inf),
        (Colour, "red", Colour.RED),
        (Colour, Colour.BLUE, Colour.BLUE),
        (Literal["x", "y"], "y", "y"),
        (list[str], ["a", "b"], ["a", "b"]),
        (list[Path], ("a",), [Path("a")]),
        (list[int], None, ()),
        (int, None, None),
    ],
)
def test_a_word_is_its_value(annotation, given, expected):
    found = Param(annotation)(given)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "limits", "given", "said"),
    [
        (int, {}, "many", "it is no whole number"),
        (int, {}, "1.5", "it is no whole number"),
        (int, {}, "", "it is no whole number"),
        (int, {}, "٣", "it is no whole number"),
        (float, {}, "x", "it is no number"),
        (int, {"min": 1}, "0", "it must be at least 1"),
        (int, {"min": 3, "max": 201}, "202", "it must be at most 201"),
        (float, {"min": 0.05}, "nan", "it must be at least 0.05"),
        (Colour, {}, "green", "'green' is not one of 'red', 'blue'"),
        (Literal["x", "y"], {}, "z", "'z' is not one of 'x', 'y'"),
        (list[int], {}, ["1", "x"], "it is no whole number"),
    ],
)
def test_a_word_that_is_no_value_is_told_in_plain_words(annotation, limits, given, said):
    with pytest.raises(typer.BadParameter) as raised:
        Param(annotation, **limits)(given)
    assert raised.value.message == said


def test_a_parser_of_its_own_takes_the_word():
    assert Param(Any, parser=len)("four") == 4


@pytest.mark.parametrize("name", COMMANDS)
def test_all_that_commands_take_is_taken(name):
    """A kind that is not known would be left to typer, and pydantic imported."""
    command = COMMANDS[name]
    convert_plainly(command.params)
    assert all(isinstance(param._runtime_param, Values) for param in command.params)


def test_no_command_waits_for_pydantic(tmp_path):
    said = "import sys; from icshift.cli.main import _run; _run(['ls', sys.argv[1]]); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
