"""Trainings by `fit` of Keras on PyTorch, as a user meets them: a script under `icshift run`."""

import json

import pytest

import icshift
from tests.launch.launching import SCRIPTS, icshift_run, run
from tests.warm.starting import python

pytest.importorskip("keras")

EPOCHS = [(0, 7), (8, 15), (16, 23)]
HALVES = [(0, 3), (4, 7), (8, 11)]

MODELS = {
    "keras_models": {
        "whole": (EPOCHS, ["dense", "batch_normalization", "dense_1"]),
        "unbuilt": (EPOCHS, ["dense_2", "batch_normalization_1", "dense_3"]),
        "added": (EPOCHS, ["dense_4", "batch_normalization_2", "dense_5"]),
        "graph": (EPOCHS, ["first", "dense_6", "batch_normalization_3", "dense_7"]),
        "own": (EPOCHS, ["dense_8", "dense_9", "dense_10", "batch_normalization_4", "dense_11"]),
        "part": (HALVES, ["dense_12", "batch_normalization_5", "dense_13"]),
    },
    "keras_loops": {
        "loop": (EPOCHS, ["dense", "dense_1"]),
        "plain": (EPOCHS, ["dense_4", "dense_5"]),
        "summed": (HALVES, ["dense_6", "dense_7"]),
        "gan": ([(0, 15), (16, 31), (32, 47)], ["judge.dense_8", "judge.dense_9", "maker.dense_10", "maker.dense_11"]),
        "mixed": (EPOCHS, ["conv", "norm", "timed", "memory", "before", "torch.module", "last"]),
    },
}
"""Of every model that a script trains: the first and last steps of its epochs, and its sites as Keras names layers."""

OTHERS = {"whole": {"eval-2", "eval-3"}}
"""Phases of other data sets, in the last window."""


@pytest.fixture(scope="module", params=["keras_models", pytest.param("keras_loops", marks=pytest.mark.thorough)])
def ran(request, tmp_path_factory):
    """The script's models, what it printed without and with icshift, where its runs are, and what it counted itself."""
    folder, script = tmp_path_factory.mktemp("keras"), SCRIPTS / f"{request.param}.py"
    program = python("keras")
    plain = run(script, folder / "plain.json", program=program)
    recorded = icshift_run("-o", folder / "runs", "--samples", "all", script, folder / "counted.json", program=program)
    counted = {tuple(row[:4]): row[4:] for row in json.loads((folder / "counted.json").read_text())}
    return MODELS[request.param], plain, recorded, folder / "runs", counted


def test_training_is_the_same_to_the_last_bit(ran):
    _, plain, recorded, *_ = ran
    assert plain.returncode == recorded.returncode == 0, recorded.stderr
    assert plain.stdout
    assert recorded.stdout == plain.stdout


def test_every_model_that_was_trained_has_a_run_of_its_name_and_no_other_has(ran):
    models, _, recorded, runs, _ = ran
    assert {path.name for path in runs.iterdir()} == set(models), recorded.stderr
    assert "not recorded" not in recorded.stderr


def test_windows_are_epochs_and_hold_what_each_layer_returned(ran):
    models, _, _, runs, counted = ran
    for name, (epochs, sites) in models.items():
        kept = icshift.open(runs / name)
        assert kept.finished
        assert [(window.first_step, window.last_step) for window in kept.window_list] == epochs
        assert all(window.parameter_change for window in kept.window_list[1:])
        assert {site.name for site in kept.sites} == set(sites)
        table = kept.windows()
        expected = {key for key in counted if key[0] == name and key[1] in {site.split(".")[-1] for site in sites}}
        for (phase, window, site), units in table.groupby(["phase", "window", "site"]):
            if name in OTHERS and window == 3 and phase != "train":
                assert set(units["count"]) == {30 if phase == "eval-3" else 40}
                continue
            key = name, "torch" if site == "torch.module" else site.split(".")[-1], phase, window
            rows, total = counted[key]
            assert set(units["count"]) == {rows}, key
            assert units["mean"].mean() * rows == pytest.approx(total, rel=1e-4, abs=1e-3), key
            expected.discard(key)
        assert {key for key in expected if not (name in OTHERS and key[2:] == ("eval", 3))} == set()
        assert set(table["phase"]) == {key[2] for key in counted if key[0] == name} | OTHERS.get(name, set())


def test_a_keras_that_runs_on_something_else_is_told_of_at_once(tmp_path):
    script = tmp_path / "other.py"
    script.write_text(
        # No other backend is installed: it only says so.
        "import torch, keras\n"
        "keras.src.backend.config._BACKEND = 'numpy'\n"
        "keras.optimizers.Adam(); keras.optimizers.SGD()\n"
        "import sys; print('made', file=sys.stderr)\n"
    )
    done = icshift_run("-o", tmp_path / "runs", script, program=python("keras"))
    told = "Keras runs on numpy, and icshift records PyTorch: start with KERAS_BACKEND=torch"
    assert done.returncode == 0, done.stderr
    assert done.stderr.index(told) < done.stderr.index("made\n")
    assert done.stderr.split("made\n")[0].count(told) == 1


def test_keras_is_not_imported_where_the_script_does_not(tmp_path):
    script = tmp_path / "without.py"
    script.write_text(
        "import sys, torch\nfrom torch import nn\nmodel = nn.Linear(2, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "model(torch.ones(3, 2)).sum().backward()\noptimizer.step()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'keras'])\n"
    )
    assert icshift_run("-o", tmp_path / "runs", script).stdout == "[]\n"
