"""The check on smoothness of digits networks: what it measures, and where it fails."""

import numpy as np
import torch

from icshift.gradients.smoothness import Smoothness
from icshift.selfcheck import smoothness
from icshift.selfcheck.digits import accuracy, digits

NAN = float("nan")


def test_smoothness():
    def networks(loss_range, change, accuracy):
        around = Smoothness(0.1, 1.0, 1.0, 0.5, 0.5 + loss_range, 0.0, change, 1.0, 1.0, ())
        return smoothness.Training(200, accuracy, (around,) * 3)

    plain, normalised = networks(1.5, 8.0, 0.9), networks(0.06, 1.0, 0.93)
    assert smoothness.judge(plain, normalised).passed
    assert not smoothness.judge(normalised, plain).passed
    assert not smoothness.judge(plain, networks(0.4, 1.0, 0.93)).passed
    assert not smoothness.judge(plain, networks(0.06, 2.1, 0.93)).passed
    assert not smoothness.judge(networks(1.5, 8.0, 0.3), normalised).passed
    assert not smoothness.judge(plain, networks(NAN, 1.0, 0.93)).passed


def test_it_is_measured_every_so_many_steps_before_the_step_and_on_its_batch():
    found = smoothness.train(digits(), batch_norm=False, steps=smoothness.EVERY + 1, seed=1)
    torch.manual_seed(1)
    model, shuffler, data = smoothness.network(batch_norm=False), torch.Generator().manual_seed(1), digits()
    losses = []
    for step in range(smoothness.EVERY + 1):
        batch = torch.randint(len(data.train_images), (smoothness.BATCH,), generator=shuffler)
        loss = torch.nn.functional.cross_entropy(model(data.train_images[batch]), data.train_classes[batch])
        if step % smoothness.EVERY == 0:
            losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(smoothness.RATE * gradient)
    np.testing.assert_allclose([along.loss for along in found.smoothness], losses, rtol=1e-5)
    assert found.accuracy == accuracy(model, data.test_images, data.test_classes)
    assert found.steps == smoothness.EVERY + 1


def test_medians_are_over_the_steps():
    ranges, changes = (1.0, 5.0, 2.0), (3.0, 7.0, 4.0)
    along = [Smoothness(0.1, 1, 1, 0.5, 0.5 + r, 0, c, 1, 1, ()) for r, c in zip(ranges, changes, strict=True)]
    training = smoothness.Training(3, 0.9, tuple(along))
    assert (training.loss_range, training.gradient_change) == (2.0, 4.0)
