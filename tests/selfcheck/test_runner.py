"""Checks run in their order by name, each from its seed, and are told before and timed after."""

import pytest
import torch

from icshift.errors import SelectionError
from icshift.selfcheck.check import Check, Finding, Setting
from icshift.selfcheck.runner import CHECKS, checks_named, run


def test_checks_come_in_their_own_order_whatever_order_their_names_are_in():
    assert [check.name for check in checks_named(["gaussians", "percentiles"])] == ["percentiles", "gaussians"]
    assert checks_named(None) == list(CHECKS.values())
    with pytest.raises(SelectionError, match="percentiles"):
        checks_named(["percentile"])


def test_every_check_starts_from_the_seed_and_leaves_torchs_generator_as_it_was():
    """And results come one by one: the second check is announced only after the first result."""
    drawn, events = [], []

    def find(_):
        drawn.append(torch.rand(()).item())
        return Finding(True, "", "", {})

    checks = [Check(name, "", "", "", find) for name in "ab"]
    before = torch.get_rng_state()
    for result in run(checks, Setting(seed=5), before=lambda check: events.append(f"before {check.name}")):
        events.append(f"after {result.check.name}")
        assert result.seconds >= 0
    assert events == ["before a", "after a", "before b", "after b"]
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert drawn == [torch.rand(()).item()] * 2


def precise(seed):
    (result,) = run(checks_named(["precise"]), Setting(seed, quick=True), before=lambda _: None)
    return result.finding.numbers


@pytest.mark.thorough
def test_everything_random_follows_from_the_seed():
    found = [precise(seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
