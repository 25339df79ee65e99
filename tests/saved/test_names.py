"""Names of weights without what wrappers put into them, and the prefix between two sets of names."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.names import matched, unwrapped_names, without_wrappers


def network():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: nn.DataParallel(nn.DataParallel(torch.compile(model, backend="eager"))),
        lambda model: nn.Sequential(model[0], torch.compile(model[1], backend="eager")),
    ],
    ids=["parallel", "compiled", "all of them", "a part"],
)
def test_names_of_wrapped_models_are_those_of_the_model(wrap):
    plain = network()
    wrapped = wrap(network()).state_dict()
    assert list(wrapped) != list(plain.state_dict())
    assert list(unwrapped_names(wrapped)) == list(plain.state_dict())


def test_a_part_that_its_author_called_module_keeps_its_name():
    state = {"module.weight": 1, "head.weight": 2}
    assert unwrapped_names(state) == state
    assert unwrapped_names({}) == {}


def test_one_weight_wrapped_and_not_is_of_two_models():
    with pytest.raises(ModelError, match="holds one weight twice"):
        unwrapped_names({"fc.weight": 1, "_orig_mod.fc.weight": 2})


def test_wrappers_within_a_name_are_taken_out_whole_parts_alone():
    assert without_wrappers("a._fsdp_wrapped_module.b._orig_mod.weight") == "a.b.weight"
    assert without_wrappers("my_orig_mod.weight") == "my_orig_mod.weight"


@pytest.mark.parametrize(
    ("model", "state", "prefix", "pairs"),
    [
        (["a", "b"], ["a", "b"], "", {"a": "a", "b": "b"}),
        (["a", "b"], ["net.a", "net.b"], "net.", {"net.a": "a", "net.b": "b"}),
        (["net.a", "net.b"], ["a", "b"], "-net.", {"a": "net.a", "b": "net.b"}),
        (["a", "b"], ["x.y.a", "x.y.b", "x.z.c"], "x.y.", {"x.y.a": "a", "x.y.b": "b"}),
        (["_orig_mod.a"], ["a"], "", {"a": "_orig_mod.a"}),
        (["a"], ["b"], "", {}),
        ([], ["a"], "", {}),
        (["a"], [], "", {}),
    ],
)
def test_the_prefix_under_which_most_names_agree(model, state, prefix, pairs):
    assert matched(model, state) == (prefix, pairs)


def test_the_search_for_prefixes_has_a_bottom():
    deep = ".".join("x" * 8) + "."
    assert matched(["a"], [f"{deep}a"]) == (deep, {f"{deep}a": "a"})
    assert matched(["a"], [f"x.{deep}a"]) == ("", {})
