"""The tree of errors, and messages that help."""

import inspect

import pytest

from icshift import errors
from icshift.errors import IcshiftError, SelectionError, message_of, unknown


def test_the_drawing_shows_every_error_there_is():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, IcshiftError)]
    assert len(classes) == 6
    for kind in classes:
        assert kind.__name__ in errors.__doc__
        assert kind.__bases__ == ((Exception,) if kind is IcshiftError else (IcshiftError,))


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("fc3", ["fc1", "fc2", "norm"], "no site 'fc3'; did you mean fc2 or fc1?"),
        ("conv", ["fc1", "norm"], "no site 'conv'; known: fc1, norm"),
        ("conv", [], "no site 'conv'; there is none"),
        (7, range(20), "no site '7'; did you mean 7 or 17?"),
        ("x", range(14), "no site 'x'; known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 2 more"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones_or_with_all(given, known, expected):
    error = unknown("site", given, known)
    assert isinstance(error, SelectionError)
    assert str(error) == expected


def test_a_message_is_one_line_with_an_end():
    assert message_of(ValueError("a\n\tb  c\n")) == "a b c"
    assert message_of(ValueError("x" * 1000)) == "x" * 300
    assert message_of(ValueError()) == ""
