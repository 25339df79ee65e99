"""Of a model's arguments a function of the user's gets those that it takes."""

import pytest
from torch import nn

from icshift.hooks.arguments import fitted


class Model(nn.Module):
    def forward(self, ids, attention=None, *, labels=None):
        return ids, attention, labels


class Any(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


POSITIONAL = ((1, 2), {})
KEYWORDS = ((), {"labels": 3, "attention": 2, "ids": 1})


@pytest.mark.parametrize(
    ("function", "call", "expected"),
    [
        (lambda ids, attention: (ids, attention), POSITIONAL, (1, 2)),
        (lambda x, y: (x, y), POSITIONAL, (1, 2)),
        (lambda *args, **kwargs: (args, kwargs), KEYWORDS, ((), KEYWORDS[1])),
        (lambda ids: ids, POSITIONAL, 1),
        (lambda ids: ids, KEYWORDS, 1),
        (lambda attention: attention, POSITIONAL, 2),
        (lambda labels, ids: (labels, ids), KEYWORDS, (3, 1)),
        (lambda attention, **_: attention, KEYWORDS, 2),
        (lambda x: x, KEYWORDS, 1),
        (lambda x: x, ((1,), {"attention": 2}), 1),
        (lambda x, other=5: (x, other), KEYWORDS, (1, 5)),
        (lambda x, y: (x, y), ((1,), {"labels": 3, "attention": 2}), (1, 2)),
    ],
)
def test_arguments_are_found_by_name_or_by_place(function, call, expected):
    assert fitted(function, Model())(*call) == expected


def test_what_the_model_does_not_name_is_taken_by_name_or_refused():
    assert fitted(lambda ids: ids, Any())((), {"ids": 1, "labels": 2}) == 1
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        fitted(lambda x: x, Any())((), {"ids": 1, "labels": 2})
    assert fitted(max, Model())((1, 2), {}) == 2
