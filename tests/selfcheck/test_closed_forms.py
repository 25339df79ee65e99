"""Closed forms are those of autograd and POT, and the checks fail where they should."""

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from icshift.selfcheck import closed_forms
from icshift.selfcheck.check import Compared

NAN = float("nan")


def test_the_gradient_by_hand_is_autograds():
    random = np.random.default_rng(0)
    weights = [torch.from_numpy(random.normal(size=(3, 3))).requires_grad_() for _ in range(3)]
    x, t = (torch.from_numpy(random.normal(size=(20, 3))) for _ in range(2))
    loss = (x @ weights[0].T @ weights[1].T @ weights[2].T - t).square().sum(1).mean() / 2
    expected = torch.autograd.grad(loss, weights)
    moments = (x.T @ x / 20).numpy(), (t.T @ x / 20).numpy()
    square = {"WIDTHS": (3, 3, 3, 3)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed_forms, "WIDTHS", square["WIDTHS"])
        for layer, gradient in enumerate(expected):
            found = closed_forms._by_hand([weight.detach().numpy() for weight in weights], layer, moments)
            np.testing.assert_allclose(found, gradient.numpy())


def test_sliced_w2_of_scaled_white_rows_is_pots():
    white = closed_forms._white(np.random.default_rng(0).normal(size=(60, 4)))
    expected = ot.sliced_wasserstein_distance(white, 1.5 * white, n_projections=50, seed=0) * np.sqrt(4)
    assert expected == pytest.approx(0.5 * np.sqrt(4))


@pytest.mark.parametrize(
    ("judge", "found"),
    [
        (closed_forms.judge_gradient_shift, closed_forms.three_linear_layers(3)),
        (closed_forms.judge_relations, closed_forms.relations(3)),
    ],
    ids=["gradient-shift", "relations"],
)
def test_every_value_counts(judge, found):
    assert judge(found).passed
    for name, one in found.items():
        assert not judge({**found, name: replace(one, found=one.found + 1e-6)}).passed
        assert not judge({**found, name: Compared(NAN, one.expected)}).passed
