"""What is said of the loss around saved models, and what their contours show."""

import math

import numpy as np
import pytest

from icshift.cli.output import show
from icshift.reports.contour import MINIMUM, MODEL, OTHER
from icshift.reports.landscape import contours, landscape_report, normalisation_in_words

ABOUT = {
    "checkpoints": ["a.pt", "b.pt"],
    "network": "Net",
    "data": "train.npz",
    "examples": 1400,
    "batches": 6,
    "batch_size": 234,
    "loss_function": "cross_entropy",
    "batch_norm": "batch",
    "instance_norm": None,
    "left_out": 0,
}
SLICE = {
    "plane": "hessian",
    "seed": None,
    "radius": 0.5,
    "points": 3,
    "lengths": (1.0, 1.0),
    "nonfinite": 0,
    "elongation": 2.0,
    "quadratic_minimum": (0.1, math.nan),
    "minimum": {"alpha": 0.125, "beta": -0.25, "loss": 0.15, "gap": ""},
    "lowest": {"alpha": 0.5, "beta": -0.5, "loss": 0.2, "on_edge": False},
}


def model(name, **changes):
    plain = {
        "model": name,
        "loss": 0.25,
        "gradient_norm": 0.5,
        "parameters": 57,
        "eigenvalues": [{"value": 4.0, "error": 1e-6}],
        "smallest": -0.5,
        "smallest_error": 1e-4,
        "condition_number": math.nan,
        "converged": True,
        "products": 31,
        "learning_rate": None,
        "lambda_lr": None,
        "largest_step": 0.5,
        "along_gradient": None,
        "slice": SLICE,
        "moved": None,
    }
    return plain | changes


FIRST = model("epoch 1")
SECOND = model("epoch 2", moved={"distance": 1.5, "place": (0.25, -0.125), "off_plane": 1.25, "cosine": 0.5})


def shown(capsys, monkeypatch, *models, about=ABOUT, warnings=(), written=None):
    monkeypatch.setenv("COLUMNS", "80")
    show(landscape_report(about, models, warnings, written or {}), no_color=True)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_one_model_has_facts(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, FIRST, about=ABOUT | {"checkpoints": ["a.pt"]}, written={"s.csv": "Slice"})
    assert lines[:3] == [
        "a.pt · Net, cross_entropy",
        "1,400 examples of train.npz in 6 batches of at most 234",
        "batch norm by the batch, as in training; dropout off",
    ]
    words = " ".join(" ".join(lines).split())
    assert "condition – the loss is not convex here: the smallest eigenvalue is below 0" in words
    assert "minimum 0.15 at α 0.125, β -0.25, of the quadratic around the lowest point" in words
    assert "lowest point of the grid: 0.2 at α 0.5, β -0.5" in words
    assert lines[-2:] == [
        "Slice in s.csv",
        "Next: the same with --lr RATE compares the curvature with steps of the training",
    ]


NOWHERE = {"alpha": math.nan, "beta": math.nan, "loss": math.nan, "gap": "the lowest point lies on the edge"}


@pytest.mark.parametrize(("on_edge", "which"), [(True, "edge"), (False, "grid")])
def test_a_minimum_that_is_not_known_is_said_why(on_edge, which, capsys, monkeypatch):
    around = SLICE | {"minimum": NOWHERE, "lowest": SLICE["lowest"] | {"on_edge": on_edge}}
    words = " ".join(" ".join(shown(capsys, monkeypatch, FIRST | {"slice": around})).split())
    assert "minimum – the lowest point lies on the edge" in words
    assert "lowest point of the grid: 0.2 at α 0.5, β -0.5" in words
    rows = shown(capsys, monkeypatch, FIRST, SECOND | {"slice": around})
    assert [row.split()[-3:] for row in rows if row.split()[:2] == ["epoch", "2"]][1] == ["0.5,", "-0.5", which]
    grid = np.array([-1.0, 0, 1]), np.array([-2.0, 0, 2]), np.arange(9.0).reshape(3, 3)
    panels, _, _ = contours(ABOUT, [FIRST | {"slice": around}], [grid])
    assert [mark.label for mark in panels[0].marks][1] == "lowest point 0.2"


def test_several_models_are_compared_with_the_first(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, FIRST, SECOND)
    assert lines[0] == "a.pt and 1 more · Net, cross_entropy"
    assert "How far they are from epoch 1, and the minima of their slices" in lines
    rows = [line.split() for line in lines if line.strip().startswith("epoch 2")]
    assert rows[1][2:7] == ["1.5", "0.25,", "-0.12", "1.25", "0.50"]
    assert max(map(len, lines)) <= 80


def test_warnings_come_before_the_files_that_were_written(capsys, monkeypatch):
    broken = FIRST | {"slice": SLICE | {"nonfinite": 2}}
    about = ABOUT | {"left_out": 3}
    lines = shown(capsys, monkeypatch, broken, about=about, warnings=["epoch 1: 2 tensors"], written={"c.svg": "Chart"})
    assert lines[-5:-1] == [
        "epoch 1: 2 tensors",
        "epoch 1: 2 of 9 losses of its slice are not finite: a smaller --radius shows more",
        "train.npz: 3 examples with values that are not finite are left out",
        "Chart in c.svg",
    ]
    data = landscape_report(about, [broken], ["epoch 1: 2 tensors"], {}).data
    assert data["notes"] == lines[-5:-2]
    assert "left_out" not in data
    assert data["models"] == [broken]


def test_contours_mark_models_and_minima():
    grids = [(np.array([-1.0, 0, 1]), np.array([-2.0, 0, 2]), np.arange(9.0).reshape(3, 3))] * 2
    panels, axes, title = contours(ABOUT, [FIRST, SECOND], grids)
    assert [panel.title for panel in panels] == ["epoch 1", "epoch 2"]
    assert [[(mark.kind, mark.first, mark.second) for mark in panel.marks] for panel in panels] == [
        [(MODEL, 0, 0), (MINIMUM, 0.125, -0.25), (OTHER, 0.25, -0.125)],
        [(MODEL, 0, 0), (MINIMUM, 0.125, -0.25)],
    ]
    # Rows of a panel go up, along the second direction.
    assert panels[0].losses[0, 2] == grids[0][2][2, 0]
    assert axes == ("α: distance along the top eigenvector", "β: distance along the second")
    assert title == [
        "cross_entropy of 1,400 examples",
        "batch norm by the batch, as in training · each panel has its own lines, colours are shared",
    ]


def test_contours_of_random_directions_say_so():
    random = FIRST | {"slice": SLICE | {"plane": "random", "seed": 3}}
    _, axes, title = contours(ABOUT, [random], [(np.arange(3.0), np.arange(3.0), np.zeros((3, 3)))])
    assert axes[0] == "α: along a random direction"
    assert "α, β = 1: as long as the weights" in title[1]


@pytest.mark.parametrize(
    ("batch", "instance", "expected"),
    [
        (None, None, "no batch norm"),
        ("batch", None, "batch norm by the batch, as in training"),
        ("running averages", None, "batch norm by its running averages"),
        (None, "running averages", "instance norm by its running averages"),
        ("running averages, else batch", None, "batch norm by running averages, by the batch where it has none"),
        ("running averages", "running averages", "batch norm and instance norm by their running averages"),
        ("running averages", "example", "batch norm by its running averages, instance norm by the example"),
    ],
)
def test_normalisation_in_words(batch, instance, expected):
    assert normalisation_in_words({"batch_norm": batch, "instance_norm": instance}) == expected
