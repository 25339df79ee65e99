"""Recording a model of Keras with a recorder of one's own, and what is heard of its optimizers."""

import numpy as np
import pytest
import torch

import icshift
from icshift.errors import RecordingError
from icshift.record import keras_steps

keras = pytest.importorskip("keras")
layers = keras.layers

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
Y = X[:, :2].argmax(1)


def network(built=True):
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(6, activation="relu", name="hidden"), layers.BatchNormalization(name="norm")]
    model = keras.Sequential([*hidden, layers.Dropout(0.5), layers.Dense(2, name="out")])
    if built:
        model.build((None, 4))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(True))
    return model


def fit(model, callbacks=()):
    return model.fit(
        *(X[:40], Y[:40]),
        batch_size=10,
        epochs=3,
        verbose=0,
        validation_data=(X[40:], Y[40:]),
        callbacks=[*callbacks],
    ).history


def weights(model):
    return [np.asarray(variable.value.detach()) for variable in model.variables]


@pytest.mark.parametrize("built", [True, False])
def test_a_recorded_fit_is_the_same_and_each_epoch_a_window(built, tmp_path):
    plain = network(built)
    history = fit(plain)
    model = network(built)
    with icshift.Recorder(model, tmp_path / "run", probe=torch.as_tensor(X[:8])) as recorder:
        ends = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: recorder.epoch())
        assert fit(model, [ends]) == history
    assert all(np.array_equal(a, b) for a, b in zip(weights(plain), weights(model), strict=True))
    run = icshift.open(tmp_path / "run")
    table = run.windows()
    assert [site.name for site in run.sites] == ["hidden", "norm", "out"]
    assert recorder.steps == 12
    assert [(window.first_step, window.last_step) for window in run.window_list] == [(0, 3), (4, 7), (8, 11)]
    for phase, rows in {"train": 40, "eval": 20, "probe": 8}.items():
        assert set(table.loc[table["phase"] == phase, "count"]) == {rows}
    assert run.manifest["parameters"] == 4 * 6 + 6 + 2 * 6 + 6 * 2 + 2
    assert run.settings["probe_statistics"] == "running averages" if built else True


def test_only_steps_of_the_optimizers_named_count(tmp_path):
    model, other = network(), network()
    with icshift.Recorder(model, tmp_path / "run", optimizer=model.optimizer) as recorder:
        fit(other)
        fit(model)
    assert recorder.steps == 12


def test_measurements_with_gradients_are_refused(tmp_path):
    model = network()
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        with pytest.raises(RecordingError, match="for models of PyTorch, and this one is of Keras"):
            recorder.smoothness(lambda: model(X).sum(), rate=0.1)
        fit(model)


def test_the_class_of_optimizers_is_as_it_was_when_nobody_listens():
    kind = keras_steps.optimizers()
    before = [getattr(kind, name) for name in ("__init__", "build", "apply")]
    with keras_steps.heard(keras_steps.Listener(lambda *_: None)):
        assert kind.apply is not before[2]
    assert [getattr(kind, name) for name in ("__init__", "build", "apply")] == before
