"""A form fits tensors that can be read in the place of the one it is of, and no others."""

import pytest
import torch

from icshift.hooks.form import Form, has_form

OTHERS = {
    "another shape": lambda: torch.zeros(3, 4),
    "another type": lambda: torch.zeros(4, 3, dtype=torch.float64),
    "another order": lambda: torch.zeros(3, 4).T,
    "another device": lambda: torch.zeros(4, 3, device="meta"),
    "sparse": lambda: torch.zeros(4, 3).to_sparse(),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(4, 3)]),
    "negated when it is read": lambda: torch.zeros(4, 3, dtype=torch.complex64).conj().imag,
}


def test_it_fits_another_tensor_of_the_same_form():
    assert Form(torch.zeros(4, 3)).fits(torch.ones(4, 3, requires_grad=True))


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
def test_it_fits_no_other(other):
    assert not Form(torch.zeros(4, 3)).fits(other())


def test_what_lies_elsewhere_has_none():
    assert has_form(torch.zeros(2))
    assert not any(has_form(OTHERS[name]()) for name in ("another device", "sparse", "nested"))
