"""Digits of scikit-learn for the checks, and the accuracy of a network on them."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from icshift.demo import Digits, load_digits
from icshift.errors import RecordingError


@cache
def digits() -> Digits:
    """The digits of `icshift demo`, loaded once. Raises `RecordingError` without scikit-learn."""
    try:
        return load_digits()
    except RecordingError as error:
        raise RecordingError("selfcheck needs scikit-learn for its digits: pip install 'icshift[demo]'") from error


def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Share of images that the model classifies right in eval mode; it is in training mode afterwards."""
    model.eval()
    with torch.no_grad():
        answers = model(images).argmax(1)
    model.train()
    return float((answers == classes).double().mean())
