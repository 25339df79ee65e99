"""Every check takes what it is for, refuses all else, and says where it was and what was expected."""

import math

import pytest

from icshift.runs import typed
from icshift.runs.typed import UnexpectedError, by_name, each, entries, or_null, or_text, whole

VALUES = [None, True, False, -1, 0, 1, 2**64, -0.5, 0.5, math.nan, math.inf, "", "3", "\ud800", [], {}, [1], {"a": 1}]

TAKEN = [
    (whole(), [0, 1]),
    (whole(1), [1]),
    (typed.number, [0, 1, 2**64, 0.5]),
    (typed.measured, [0, 1, 2**64, 0.5, math.nan, math.inf]),
    (typed.text, ["", "3"]),
    (typed.flag, [True, False]),
    (or_null(typed.flag), [None, True, False]),
    (or_text(whole(1), "3"), [1, "3"]),
    (each(whole()), [[], [1]]),
    (by_name(whole()), [{}, {"a": 1}]),
    (entries({"a": whole()}), [{"a": 1}]),
    (entries({}, {"a": typed.flag}), [{}]),
    (typed.anything, VALUES),
]


@pytest.mark.parametrize(("check", "taken"), TAKEN)
def test_a_check_takes_what_it_is_for_and_nothing_else(check, taken):
    for value in VALUES:
        found = True
        try:
            check(value, "here")
        except UnexpectedError:
            found = False
        assert found == any(type(value) is type(one) and (value == one or value is one) for one in taken), value


@pytest.mark.parametrize(
    ("check", "value", "told"),
    [
        (whole(1), True, "here is true: expected a whole number from 1"),
        (each(whole(0, 9)), [3, 10], "here[1] is 10: expected a whole number from 0 to 9"),
        (entries({"a": entries({"b": typed.flag})}), {"a": {"b": 0}}, "here.a.b is 0: expected true or false"),
        (entries({"a": typed.flag}), {}, "here.a is missing"),
        (
            by_name(typed.text),
            {"a": ["x" * 99]},
            f'here.a is ["{"x" * 58}…: expected text of at most 65,536 signs',
        ),
    ],
)
def test_it_says_what_was_found_and_what_was_expected(check, value, told):
    with pytest.raises(UnexpectedError) as caught:
        check(value, "here")
    assert str(caught.value) == told
