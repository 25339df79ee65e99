"""scikit-learn's digits as the checks use them."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from icshift.demo import Digits, load_digits
from icshift.errors import RecordingError


@cache
def digits() -> Digits:
    """Those of `icshift demo`. Raises `RecordingError` without scikit-learn."""
    try:
        return load_digits()
    except RecordingError as error:
        raise RecordingError("selfcheck needs scikit-learn for its digits: pip install 'icshift[demo]'") from error


def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Share of right answers in eval mode; the model is in training mode afterwards."""
    model.eval()
    with torch.no_grad():
        found = model(images).argmax(1)
    model.train()
    return float((found == classes).double().mean())
