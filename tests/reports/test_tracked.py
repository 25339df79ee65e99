"""The report on what was written for a dashboard says how much, where, and what shows it."""

from pathlib import Path

import pytest

from icshift.reports.tracked import Tracked, tracked_report

WRITTEN = Tracked(scalars=1234, histograms=9, phases=("train", "eval"), by_steps=True)


@pytest.mark.parametrize(
    ("tracker", "shown_by"),
    [
        ("tensorboard", "tensorboard --logdir 'my logs'"),
        ("wandb", "wandb sync 'my logs'/wandb/offline-run-*"),
        ("mlflow", "mlflow server --backend-store-uri 'my logs'"),
    ],
)
def test_it_counts_and_names_the_command(tracker, shown_by):
    report = tracked_report(Path("my logs"), tracker, WRITTEN)
    assert str(report.body[0]) == "my logs: 1,234 series of numbers and 9 of histograms (train, eval)"
    assert report.next_step.endswith(shown_by)


def test_it_says_where_windows_stand():
    assert "last step" in str(tracked_report(Path("a"), "mlflow", WRITTEN).body[1])
    numbered = Tracked(1, 0, ("train",), by_steps=False)
    report = tracked_report(Path("a"), "mlflow", numbered)
    assert "at their numbers" in str(report.body[1])
    assert "histograms" not in str(report.body[0])
