"""Layers of Keras on PyTorch: their names, weights and units; that every one with weights is recorded."""

import numpy as np
import pytest
import torch
from torch import nn

from icshift.model import keras_layers, names
from icshift.model.layout import unit_axis
from icshift.model.sites import Sites, choose_sites
from icshift.model.undisturbed import kept

keras = pytest.importorskip("keras")
layers = keras.layers

FLAT, SEQUENCE, IMAGE, VOLUME = (2, 4), (2, 6, 4), (2, 6, 6, 4), (2, 6, 6, 6, 4)

WITH_WEIGHTS = {
    "Dense": (lambda: layers.Dense(3), FLAT, 3),
    "EinsumDense": (lambda: layers.EinsumDense("ab,bc->ac", output_shape=3), FLAT, 3),
    "Conv1D": (lambda: layers.Conv1D(3, 2), SEQUENCE, 3),
    "Conv2D": (lambda: layers.Conv2D(3, 2), IMAGE, 3),
    "channels first": (lambda: layers.Conv2D(3, 2, data_format="channels_first"), IMAGE, 3),
    "Conv3D": (lambda: layers.Conv3D(3, 2), VOLUME, 3),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), IMAGE, 3),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(2), IMAGE, 4),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(3, 2), IMAGE, 3),
    "BatchNormalization": (layers.BatchNormalization, IMAGE, 4),
    "normalised first": (lambda: layers.BatchNormalization(axis=1), IMAGE, 6),
    "LayerNormalization": (layers.LayerNormalization, SEQUENCE, 4),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), IMAGE, 4),
    "PReLU": (layers.PReLU, FLAT, 4),
    "LSTM": (lambda: layers.LSTM(3), SEQUENCE, 3),
    "states": (lambda: layers.GRU(3, return_sequences=True, return_state=True), SEQUENCE, 3),
    "SimpleRNN": (lambda: layers.SimpleRNN(3), SEQUENCE, 3),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SEQUENCE, 3),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCE, 3),
    "SpectralNormalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), FLAT, 3),
    "TorchModuleWrapper": (lambda: layers.TorchModuleWrapper(nn.Linear(4, 3)), FLAT, 3),
}
"""A layer with weights, the shape of what it is given, and how many units it has."""


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_layer_with_weights_is_a_site_with_its_units(name):
    make, shape, units = WITH_WEIGHTS[name]
    layer, seen = make(), {}
    layer(np.zeros(shape, "float32"))
    chosen = choose_sites(layer, Sites())
    handles = [
        module.register_forward_hook(lambda m, _, output: seen.setdefault(m, output)) for module in chosen.values()
    ]
    layer(np.zeros(shape, "float32"))
    for handle in handles:
        handle.remove()
    assert set(seen) == set(chosen.values())
    for module, output in seen.items():
        first = output[0] if isinstance(output, (tuple, list)) else output
        assert first.shape[unit_axis(module, first.ndim)] == units
    assert sum(p.numel() for p in names.parameters(layer)) == sum(
        p.numel() for p in layer.torch_params.values() if p.requires_grad
    )


def test_parts_are_called_as_keras_calls_them():
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), shared, layers.Dense(2, name="out")], name="inner")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(shared(inputs)), name="outer")
    assert list(names.modules(model)) == ["(model)", "shared", "inner", "inner.out"]
    twice = type("Twice", (keras.Model,), {"call": lambda self, x: self.b(self.a(x))})()
    twice.a, twice.b = layers.Dense(2, name="same"), layers.Dense(2, name="same")
    assert list(names.modules(twice)) == ["(model)", "same", "same-2"]


def test_a_layer_that_waits_for_its_inputs_is_left_as_it_is():
    model = keras.Sequential([layers.Dense(2), layers.Dense(1)])
    assert choose_sites(model, Sites()) == {}
    assert list(names.parameters(model)) == []
    assert "_torch_params" not in model._modules
    assert any(map(keras_layers.waits_for_inputs, names.modules(model).values()))


def test_moving_averages_are_put_back():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5)])
    before = [value.clone() for value in names.changing(model)]
    with kept(model):
        model(torch.randn(8, 4), training=True)
        assert any(not torch.equal(a, b) for a, b in zip(before, names.changing(model), strict=True))
    assert before
    assert all(torch.equal(a, b) for a, b in zip(before, names.changing(model), strict=True))
