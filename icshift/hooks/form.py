"""The form of a tensor: all that is to be known of it to read its values from where they lie."""

from __future__ import annotations

import torch
from torch import Tensor


class Form:
    """What a plain tensor on the CPU is like, but for its values and its address.

    >>> form = Form(torch.zeros(2, 3))
    >>> form.fits(torch.ones(2, 3)), form.fits(torch.ones(3, 2)), form.fits(torch.ones(3, 2).T)
    (True, False, False)
    """

    __slots__ = ("_dtype", "_shape", "_stride")

    def __init__(self, tensor: Tensor) -> None:
        self._shape, self._stride, self._dtype = tensor.shape, tensor.stride(), tensor.dtype

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor is like that. Its class has to be known to be PyTorch's own."""
        # `has_form` again, word for word: this is asked of every tensor, and a call costs as much as all the rest.
        return (
            tensor.is_cpu
            and not tensor.is_nested
            and tensor.layout is torch.strided
            and tensor.dtype is self._dtype
            and tensor.shape == self._shape
            and tensor.stride() == self._stride
            and not tensor.is_neg()
        )


def has_form(tensor: Tensor) -> bool:
    """Whether a tensor of PyTorch's own class lies on the CPU, and has a shape and strides."""
    return tensor.is_cpu and not tensor.is_nested and tensor.layout is torch.strided
