"""Noise after batch norm, so that distributions keep moving: Santurkar et al. (2018), appendix A.2.1, Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icshift.errors import MeasurementError


class BatchNormNoise(nn.Module):
    """A layer that puts noise on activations [batch, units, …], in training mode only; to be put after batch norm.

    At every forward each unit j draws a mean from U(-mean, mean) and a scale from U(1, sd); then each example draws its
    own shift from U(mean_j - jitter, mean_j + jitter) and its own scale from N(scale_j, jitter). Positions of
    an image count as examples. The defaults are the paper's. It draws from torch's global generator, as dropout does.
    Its forward raises `MeasurementError` where axis 1 does not hold `units` units.

    >>> import icshift, torch
    >>> noise, activations = icshift.BatchNormNoise(2), torch.zeros(5, 2)
    >>> torch.equal(noise(activations), activations)
    False
    >>> torch.equal(noise.eval()(activations), activations)
    True
    """

    def __init__(self, units: int, *, mean: float = 0.5, sd: float = 1.25, jitter: float = 0.1) -> None:
        super().__init__()
        self.units, self.mean, self.sd, self.jitter = units, mean, sd, jitter

    def forward(self, activations: Tensor) -> Tensor:
        """Returns the activations, in training mode times a random scale plus a random shift, of the same shape."""
        if activations.ndim < 2 or activations.shape[1] != self.units:
            raise MeasurementError(f"expected {self.units} units on axis 1, got shape {list(activations.shape)}")
        if not self.training:
            return activations
        per_unit = [self.units] + [1] * (activations.ndim - 2)
        shift = activations.new_empty(per_unit).uniform_(-self.mean, self.mean)
        scale = activations.new_empty(per_unit).uniform_(1, self.sd)
        shift = shift + torch.empty_like(activations).uniform_(-self.jitter, self.jitter)
        scale = scale + self.jitter * torch.randn_like(activations)
        return scale * activations + shift

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{self.units}, mean={self.mean}, sd={self.sd}, jitter={self.jitter}"
