"""A notice warns, and never ends the training."""

import warnings
from pathlib import Path

import pytest

from icshift.notice import notice


def recorder():
    notice("something happened")


def test_the_warning_points_at_whoever_called_the_function_that_noticed():
    with pytest.warns(RuntimeWarning, match="^something happened$") as shown:
        recorder()
    assert [Path(warning.filename).name for warning in shown] == [Path(__file__).name]
    assert (
        shown[0].lineno
        == test_the_warning_points_at_whoever_called_the_function_that_noticed.__code__.co_firstlineno + 2
    )


def test_where_warnings_are_errors_it_is_printed(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder()
    assert capsys.readouterr().err == "something happened\n"
