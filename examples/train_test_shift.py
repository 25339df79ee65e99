"""What do other images do to a network's hidden units, and does adapting batch norm's statistics undo it?

    python examples/train_test_shift.py

A small batch norm network is trained on scikit-learn's digits, then tested on the test images as they are, at a quarter
of the contrast, brighter, and with noise: covariate shift at test time. Batch norm normalises in eval mode by the
statistics of the training; Schneider et al. (2020, arXiv 2006.16971) take those of the shifted images in their place,
which needs no labels (`icshift.adapt_batch_norm`).

It shows that contrast and brightness, affine changes that are the same for every image, shift every layer, and that
adapted statistics undo them; of noise they take part of the drift away and none of the errors. So it does not show that
drift tells accuracy: brighter images drift more than noisy ones, and are classified no worse. One training, one level
of each change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import icshift

SHIFTS = {
    "none": lambda images: images,
    "contrast x 0.25": lambda images: 0.25 * images,
    "brightness + 0.4": lambda images: images + 0.4,
    "noise, sd 0.3": lambda images: images + 0.3 * torch.randn(images.shape),
}
"""What is done to test images, whose pixels are from 0 to 1."""
STATISTICS = ("training", "adapted")


def network() -> nn.Sequential:
    """Three hidden layers of 100 ReLU units with batch norm."""
    layers: list[nn.Module] = []
    for inputs in (64, 100, 100):
        layers += [nn.Linear(inputs, 100, bias=False), nn.BatchNorm1d(100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def train(model: nn.Module, images: Tensor, classes: Tensor) -> None:
    """400 steps of gradient descent in batches of 60."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(400):
        batch = torch.randint(len(images), (60,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
        optimizer.step()


def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Share of right answers in eval mode; in batches of 50, whose differences tell the recorder what is noise."""
    model.eval()
    with torch.no_grad():
        answers = torch.cat([model(batch) for batch in images.split(50)]).argmax(1)
    return (answers == classes).double().mean().item()


def test(model: nn.Module, recorder: icshift.Recorder, images: Tensor, classes: Tensor) -> Iterator[dict[str, object]]:
    """Accuracy under every shift, with both statistics; each combination is recorded as a phase."""
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    for shift, change in SHIFTS.items():
        shifted = change(images)
        for statistics in STATISTICS:
            if statistics == "adapted":
                with recorder.paused():
                    icshift.adapt_batch_norm(model, shifted)
            with recorder.phase(f"{shift}, {statistics}"):
                yield {"shift": shift, "statistics": statistics, "accuracy": accuracy(model, shifted, classes)}
        model.load_state_dict(trained)


def drift(path: Path) -> pd.DataFrame:
    """A row a phase and layer: the median drift of its units from the training images, with its noise floor."""
    run, frames = icshift.open(path), []
    for shift in SHIFTS:
        for statistics in STATISTICS:
            report = run.report(reference="phase:training images", phase=f"{shift}, {statistics}")
            report = report.assign(shift=shift, statistics=statistics, layer=range(1, len(report) + 1))
            frames.append(report[["shift", "statistics", "layer", "drift", "floor"]])
    return pd.concat(frames)


def picture(rows: pd.DataFrame) -> alt.Chart:
    """A panel for each kind of statistics; a line a shift over the depth of the layer."""
    base = alt.Chart(rows)
    lines = base.mark_line(point=True).encode(
        alt.X("layer:O", title="batch norm layer, from the input", axis=alt.Axis(labelAngle=0)),
        alt.Y("drift:Q", title="drift, sd (median of 100 units)"),
        alt.Color("shift:N", sort=list(SHIFTS), title="change of the test images"),
        alt.Column("statistics:N", sort=list(STATISTICS), title="batch norm's statistics"),
    )
    title = alt.Title(
        "Drift of test images against training images",
        subtitle="With adapted statistics, the lines of no change, contrast and brightness lie on one another.",
    )
    return lines.properties(width=240, height=220, title=title)


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    torch.manual_seed(0)
    digits = load_digits()
    images, classes = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    training, testing = torch.randperm(len(images)).split([1400, len(images) - 1400])
    model = network()
    train(model, images[training], classes[training])
    path = Path(tempfile.mkdtemp()) / "run"
    with icshift.Recorder(model, path, sites=nn.BatchNorm1d) as recorder:
        with recorder.phase("training images"):
            accuracy(model, images[training], classes[training])
        accuracies = pd.DataFrame(test(model, recorder, images[testing], classes[testing]))
    rows = drift(path)
    layers = rows.pivot(index=["shift", "statistics"], columns="layer", values="drift").add_prefix("layer ")
    table = accuracies.merge(layers.reset_index())
    print(f"Accuracy on {len(testing)} test images, and the drift of three batch norm layers' outputs against")
    print(f"{len(training)} training images, w1_sd in sd, median of 100 units.")
    print(f"Noise alone would show {rows['floor'].median():.2f} sd.")
    print(table.round(3).to_string(index=False))
    picture(rows).save("train_test_shift.svg")
    print("Picture: train_test_shift.svg")
    print(f'Next: icshift report {path} --phase "noise, sd 0.3, training" --reference "phase:training images"')


if __name__ == "__main__":
    main()
