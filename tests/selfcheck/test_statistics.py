"""The checks on batch norm's statistics fail where they should; corruptions are what they are called."""

import torch

from icshift.selfcheck import statistics
from icshift.selfcheck.digits import digits
from icshift.selfcheck.statistics import Exposure

NAN = float("nan")


def test_precise():
    def judged(early_running, early, late_running, late):
        return statistics.judge_precise([[(early_running, early), (late_running, late)]] * 3, 200).passed

    assert judged(0.3, 0.65, 0.94, 0.945)
    assert not judged(0.65, 0.3, 0.94, 0.945)
    assert not judged(0.6, 0.65, 0.94, 0.945)
    assert not judged(0.3, 0.65, 0.94, 0.90)
    assert not judged(0.3, NAN, 0.94, 0.945)


def exposures(source=0.5, adapted=0.95, distances=(0.3, 0.6, 1.1)):
    return {
        name: [Exposure(s, source, adapted, d) for s, d in zip(severities, distances, strict=True)]
        for name, severities in statistics.SEVERITIES.items()
    }


def test_adaptation():
    judge = statistics.judge_adaptation
    assert judge(0.95, exposures()).passed
    assert not judge(0.95, exposures(source=0.95, adapted=0.5)).passed
    assert not judge(0.95, exposures(source=0.92)).passed
    assert not judge(0.95, exposures(adapted=0.9)).passed
    assert not judge(0.95, exposures(distances=(0.3, 1.1, 0.6))).passed
    assert not judge(0.95, exposures(distances=(0.3, 0.6, NAN))).passed
    assert not judge(0.95, {**exposures(), "noise": exposures(distances=(0.6, 0.5, 0.7))["noise"]}).passed


def test_corruptions_are_what_they_are_called():
    images = digits().test_images
    noise = torch.ones_like(images)
    assert torch.equal(statistics._corrupted(images, "contrast", 0.5, noise), 0.5 * images)
    assert torch.equal(statistics._corrupted(images, "brightness", 0.5, noise), images + 0.5)
    assert torch.equal(statistics._corrupted(images, "noise", 0.5, 2 * noise), images + 1)


def test_the_distance_is_nothing_on_the_data_that_the_running_statistics_are_of():
    """One layer after another gets the statistics that its inputs have, as eval mode sends the images through."""
    torch.manual_seed(0)
    images, model = digits().test_images, statistics.network().eval()
    far = statistics._distance(model, images)
    with torch.no_grad():
        activations = images
        for module in model:
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.copy_(activations.mean(0))
                module.running_var.copy_(activations.var(0, correction=0))
            activations = module(activations)
    near = statistics._distance(model, images)
    assert near < 0.01
    assert far > 0.1
    assert statistics._distance(model, images + 0.6) > 0.1


def test_training_calls_after_every_step_with_its_number():
    steps = []
    model = statistics.train(digits(), steps=3, seed=0, at=lambda step, _: steps.append(step))
    assert steps == [1, 2, 3]
    again = statistics.train(digits(), steps=3, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
