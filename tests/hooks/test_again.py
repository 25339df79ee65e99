"""What came before is taken the short way as long as all that it depends on is as it was, and at no other time."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from icshift.hooks.again import Known
from icshift.hooks.calls import Now


def _now(module, made):
    now = Now()
    now.open, now.forward, now.made = [module], "train", made
    return now


def _known(taken):
    known = Known()
    for _ in range(2):
        known.note("fc", torch.zeros(4, 3), _now(nn.Identity(), {"fc": 1}), lambda: lambda at: taken.append(at) is None)
    return known


def test_the_third_like_two_before_is_taken_by_its_address():
    taken, tensor = [], torch.ones(4, 3)
    assert _known(taken).take("fc", tensor, _now(nn.Identity(), made := {}))
    assert (taken, made) == ([tensor.data_ptr()], {"fc": 1})


def test_one_of_another_form_forward_or_call_is_not():
    known, model = _known(taken := []), nn.Identity()
    other = _now(model, {})
    other.forward = "eval"
    masked = _now(model, {})
    masked.padding = object()
    outside = _now(model, {})
    outside.open = []
    fitting = torch.ones(4, 3)
    assert not known.take("fc", torch.ones(5, 3), _now(model, {}))
    assert not known.take("fc2", fitting, _now(model, {}))
    assert not any(known.take("fc", fitting, now) for now in (other, masked, outside, _now(model, {"fc": 1})))
    with FlopCounterMode(display=False):
        assert not known.take("fc", fitting, _now(model, {}))
    known.forget()
    assert not known.take("fc", fitting, _now(model, {}))
    assert taken == []


def test_where_shapes_vary_nobody_is_asked():
    known, asked = Known(), []
    for rows in (2, 3, 2, 3):
        known.note("fc", torch.zeros(rows, 3), _now(nn.Identity(), {"fc": 1}), lambda: asked.append(1))
    assert asked == []
