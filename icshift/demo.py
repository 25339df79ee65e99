"""The experiment of `icshift demo`: the network of Ioffe & Szegedy (2015), section 4.1, on scikit-learn's digits.

Three hidden layers of 100 sigmoid units, batches of 60, binary images, with and without batch normalisation before the
sigmoids. The paper has MNIST, 50,000 steps and does not state its learning rate or its initial weights; here are 8x8
digits, plain gradient descent with rate `RATE` and weights from N(0, 0.1^2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder

HIDDEN = 3
WIDTH = 100
BATCH = 60
RATE = 0.5
EPOCHS = 40
TRAINING_EXAMPLES = 1400
WINDOWS = 10
CHECKPOINTS = "checkpoints"
PROBE_EXAMPLES = 512
"""As many as a window keeps exactly."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Digits to train and to test with: binary 8x8 images [n, 64] and their classes [n], 0 to 9."""

    train_images: Tensor
    train_classes: Tensor
    test_images: Tensor
    test_classes: Tensor


def load_digits() -> Digits:
    """scikit-learn's digits, thresholded at 7 of 16, shuffled once. Raises `RecordingError` without scikit-learn."""
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ImportError as error:
        raise RecordingError("the demo needs scikit-learn: pip install 'icshift[demo]'") from error
    bunch = sklearn_digits()
    order = torch.randperm(len(bunch.data), generator=torch.Generator().manual_seed(0))
    images = (torch.tensor(bunch.data) > 7).float()[order]
    classes = torch.tensor(bunch.target)[order]
    n = TRAINING_EXAMPLES
    return Digits(images[:n], classes[:n], images[n:], classes[n:])


def save_inputs(folder: Path, digits: Digits) -> None:
    """Write inputs into `folder` that commands on saved models can be tried with.

    `probe.npz` holds the first `PROBE_EXAMPLES` training images, `dimmed.npz` the test images at half the contrast;
    `train.npz` has all training images with their classes as targets.
    """
    np.savez_compressed(folder / "probe.npz", input=digits.train_images[:PROBE_EXAMPLES].numpy())
    np.savez_compressed(folder / "dimmed.npz", input=0.5 * digits.test_images.numpy())
    images, classes = digits.train_images.numpy(), digits.train_classes.numpy()
    np.savez_compressed(folder / "train.npz", input=images, target=classes)


def network(*, batch_norm: bool, seed: int = 0) -> nn.Sequential:
    """The network: fc1 … fc3 with sigmoids, with `batch_norm` norm1 … norm3 between the two, and fc4 for 10 classes.

    Weights are drawn from N(0, 0.1^2), biases are 0. torch's generator is seeded with `seed`.
    """
    torch.manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = 64
    for i in range(1, HIDDEN + 1):
        layers[f"fc{i}"] = nn.Linear(inputs, WIDTH, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm1d(WIDTH)
        layers[f"sigmoid{i}"] = nn.Sigmoid()
        inputs = WIDTH
    layers[f"fc{HIDDEN + 1}"] = nn.Linear(WIDTH, 10)
    model = nn.Sequential(layers)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


@dataclass(frozen=True)
class Training:
    """One training: with batch norm or without, recorded at `path` in `WINDOWS` windows.

    `seed` draws the initial weights and the order of the examples. Where the model is `kept`, its state dict at the end
    of every window is saved in `checkpoints/` beside the run under its name, which must not be there yet, and the last
    one as `<path>.pt`.
    """

    path: Path
    batch_norm: bool
    seed: int = 0
    kept: bool = True


def train(
    training: Training, digits: Digits, *, epochs: int, force: bool = False, after_epoch: Callable[[], None]
) -> float:
    """Train one network and record it; returns its accuracy on the test images. `after_epoch` is called after each.

    Raises `RunError` where there is a run at its path already, unless `force` replaces it.
    """
    model = network(batch_norm=training.batch_norm, seed=training.seed)
    checkpoints = training.path.parent / CHECKPOINTS / training.path.name
    if training.kept:
        checkpoints.mkdir(parents=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    shuffler = torch.Generator().manual_seed(training.seed + 1)
    probe = Probe(digits.train_images[:PROBE_EXAMPLES])
    accuracy = 0.0
    with Recorder(model, training.path, optimizer=optimizer, probe=probe, force=force) as recorder:
        for epoch in range(1, epochs + 1):
            model.train()
            for batch in torch.randperm(TRAINING_EXAMPLES, generator=shuffler).split(BATCH):
                loss = nn.functional.cross_entropy(model(digits.train_images[batch]), digits.train_classes[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if epoch * WINDOWS // epochs > (epoch - 1) * WINDOWS // epochs:
                accuracy = _tested(model, digits)
                recorder.log(accuracy=accuracy)
                recorder.epoch(f"epoch {epoch}")
                if training.kept:
                    torch.save({"model": model.state_dict(), "epoch": epoch}, checkpoints / f"epoch-{epoch}.pt")
            after_epoch()
    if training.kept:
        torch.save(model.state_dict(), training.path.with_suffix(".pt"))
    return accuracy


def _tested(model: nn.Module, digits: Digits) -> float:
    """Returns the share of test images whose class the model finds; it is in eval mode afterwards."""
    model.eval()
    with torch.no_grad():
        answers = model(digits.test_images).argmax(1)
    return float((answers == digits.test_classes).double().mean())
