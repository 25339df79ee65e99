"""What an observer keeps of the tensors that it gets."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from icshift.hooks.observer import FORWARD_SAMPLES, SEED, Observer
from icshift.hooks.padding import padding
from icshift.model.sites import Sites

FC = nn.Linear(3, 2)


def observer(samples=math.inf, sink=lambda *_: None, **options):
    return Observer(Sites(), samples, SEED, sink, **options)


def observe(into, tensor, phase="train", site="fc", module=FC, *, stepping=True, **options):
    into.observe(site, module, tensor, phase, stepping=stepping, **options)


def distribution(of, phase="train", site="fc"):
    return {(phase, site.name): seen for (phase, site), seen in of.distributions().items()}[phase, site]


def test_sites_are_not_all_worked_off_after_the_same_step():
    worked_off, step = [], 0
    kept = observer(sink=lambda _, site, __: worked_off.append((site.name, step)))
    for step in range(64):
        for name in ("a", "b", "c", "d"):
            observe(kept, torch.randn(10, 2), site=name)
        kept.tick(step, stepping=True)
    assert dict(sorted(worked_off)) == {"a": 63, "b": 23, "c": 47, "d": 8}


def test_several_forwards_of_a_step_are_one_tick():
    rows, kept = [], observer(sink=lambda phase, site, step_rows: rows.append((phase, site.name, step_rows)))
    x = torch.randn(10, 2)
    observe(kept, x[:4])
    observe(kept, x[4:])
    kept.tick(7, stepping=True)
    seen = distribution(kept)
    assert seen.count.tolist() == [10, 10]
    np.testing.assert_allclose(seen.mean, x.mean(0), rtol=1e-4, atol=1e-6)
    assert seen.values.shape == (2, 10)
    kept.new_window()
    assert kept.distributions() == {}
    [(phase, site, step_rows)] = rows
    assert (phase, site, step_rows.steps.tolist()) == ("train", "fc", [7])
    np.testing.assert_allclose(step_rows.mean, x.mean(0)[None], rtol=1e-4, atol=1e-6)


def test_what_is_not_closed_does_not_count():
    kept = observer()
    assert not kept.step_begun
    observe(kept, torch.randn(4, 2))
    assert kept.step_begun
    assert not kept.holding
    assert kept.distributions() == {}
    kept.tick(0, stepping=False)  # the end of a forward does not end the step
    assert not kept.holding
    kept.tick(0, stepping=True)
    assert kept.holding
    assert not kept.step_begun


def test_an_empty_batch_begins_a_step_and_shows_nothing():
    kept = observer()
    observe(kept, torch.randn(0, 2))
    assert kept.step_begun
    kept.tick(0, stepping=True)
    assert not kept.holding


def test_moments_are_of_all_activations_and_quantiles_of_a_sample():
    kept, x = observer(samples=8), torch.randn(5000, 2)
    observe(kept, x)
    kept.tick(0, stepping=True)
    seen = distribution(kept)
    assert seen.count.tolist() == [5000, 5000]
    assert seen.sampled.tolist() == [8, 8]
    np.testing.assert_allclose(seen.mean, x.double().mean(0), rtol=1e-5)


def test_forwards_of_no_step_are_sampled_each():
    kept = observer(samples=8)
    for _ in range(2):
        observe(kept, torch.randn(5000, 2), "eval", stepping=False)
        kept.tick(0, stepping=False)
    assert distribution(kept, "eval").sampled.tolist() == [2 * FORWARD_SAMPLES] * 2


def test_probes_draw_the_same_places_and_processes_differ():
    x = torch.randn(5000, 2)

    def values(rank, phase, *, stepping):
        kept = observer(samples=1024, rank=rank)
        kept.restart_probe(1)
        observe(kept, x, phase, stepping=stepping)
        kept.tick(0, stepping=stepping)
        return distribution(kept, phase).values

    np.testing.assert_array_equal(values(0, "probe", stepping=False), values(1, "probe", stepping=False))
    assert not np.array_equal(values(0, "train", stepping=True), values(1, "train", stepping=True))


def test_padding_is_left_out():
    kept = observer()
    x, mask = torch.randn(2, 3, 2), torch.tensor([[False, False, True], [False, True, True]])
    observe(kept, x, padding=padding(mask))
    kept.tick(0, stepping=True)
    np.testing.assert_allclose(distribution(kept).mean, x[~mask].mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "held"),
    [
        (torch.tensor(1.0), "a single number"),
        (torch.ones(4, 2, dtype=torch.long), "numbers of torch.int64"),
        (torch.ones(4, 2, device="meta"), "no values: on the meta device, or fake"),
    ],
)
def test_what_holds_no_activations_is_named(tensor, held):
    kept = observer()
    observe(kept, tensor)
    kept.tick(0, stepping=True)
    assert (kept.other, kept.failed, kept.sites) == ({"fc": held}, {}, {})


def test_a_site_whose_units_change_is_given_up_with_a_notice_and_the_rest_goes_on():
    kept = observer()
    observe(kept, torch.randn(4, 2))
    with pytest.warns(RuntimeWarning, match="icshift stopped recording fc: fc had 2 units on axis 1"):
        observe(kept, torch.randn(4, 5))
    observe(kept, torch.randn(4, 5))  # no second notice
    observe(kept, torch.randn(4, 5), site="other")
    kept.tick(0, stepping=True)
    assert list(kept.failed) == ["fc"]
    assert distribution(kept, site="other").count.tolist() == [4] * 5


def test_nothing_is_raised_whatever_goes_wrong():
    class Hostile(nn.Linear):
        def __getattribute__(self, name):
            raise KeyError(name)

    kept = observer()
    with pytest.warns(RuntimeWarning, match="icshift stopped recording fc"):
        observe(kept, torch.randn(4, 2), module=Hostile.__new__(Hostile))
    assert "fc" in kept.failed


def test_what_was_seen_stays_known_after_closing():
    kept = observer()
    observe(kept, torch.randn(4, 2))
    kept.tick(0, stepping=True)
    kept.close()
    assert list(kept.sites) == ["fc"]
    assert kept.distributions() == {}
