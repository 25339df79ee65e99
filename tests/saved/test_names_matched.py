"""Which prefix is taken where several let equally many names meet: the shorter one."""

import pytest

from icshift.saved.names import matched


@pytest.mark.parametrize(
    ("model", "state", "prefix", "pairs"),
    [
        (["weight"], ["longer.weight", "weight"], "", {"weight": "weight"}),
        (["m.weight", "bias"], ["longer.bias", "weight"], "-m.", {"weight": "m.weight"}),
        (["longer.weight", "bias"], ["m.bias", "weight"], "m.", {"m.bias": "bias"}),
        (["m.weight", "bias", "scale"], ["longer.bias", "longer.scale", "weight"], "longer.", None),
    ],
    ids=["no prefix", "the model's is shorter", "the state dict's is shorter", "more names meet under the longer"],
)
def test_the_shorter_prefix_where_equally_many_names_meet(model, state, prefix, pairs):
    taken, meeting = matched(model, state)
    assert taken == prefix
    assert meeting == (pairs or {"longer.bias": "bias", "longer.scale": "scale"})
