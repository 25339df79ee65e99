"""The noise of Santurkar et al. (2018), appendix A.2.1, Algorithm 1: batch norm whose distributions keep moving."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icshift.errors import MeasurementError


class BatchNormNoise(nn.Module):
    """Puts noise on activations [batch, units, …], in training mode only; made to follow a batch norm layer.

    At every forward each unit j draws a mean from U(-mean, mean) and a scale from U(1, sd); then each example draws its
    own shift from U(mean_j - jitter, mean_j + jitter) and its own scale from N(scale_j, jitter). Positions of
    an image count as examples. The defaults are the paper's. It draws from torch's global generator, as dropout does.
    Raises `MeasurementError` where the units are not on axis 1.
    """

    def __init__(self, units: int, *, mean: float = 0.5, sd: float = 1.25, jitter: float = 0.1) -> None:
        super().__init__()
        self.units, self.mean, self.sd, self.jitter = units, mean, sd, jitter

    def forward(self, activations: Tensor) -> Tensor:
        """The activations, scaled and shifted by noise; as they are in eval mode."""
        if activations.ndim < 2 or activations.shape[1] != self.units:
            raise MeasurementError(f"expected {self.units} units on axis 1, got shape {list(activations.shape)}")
        if not self.training:
            return activations
        a_unit = [self.units] + [1] * (activations.ndim - 2)
        shift = activations.new_empty(a_unit).uniform_(-self.mean, self.mean)
        scale = activations.new_empty(a_unit).uniform_(1, self.sd)
        shift = shift + torch.empty_like(activations).uniform_(-self.jitter, self.jitter)
        scale = scale + self.jitter * torch.randn_like(activations)
        return scale * activations + shift

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{self.units}, mean={self.mean}, sd={self.sd}, jitter={self.jitter}"
