"""Keras 3 on PyTorch: compile, fit, evaluate."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
y = x[:, :3].argmax(1)
model = keras.Sequential(
    [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3, activation="softmax")]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x[:160], y[:160], batch_size=20, epochs=3, validation_data=(x[160:], y[160:]), verbose=0)
for losses in zip(history.history["loss"], history.history["val_loss"], strict=True):
    print(*(f"{loss:.4f}" for loss in losses))
print(sum(float(torch.as_tensor(v.value).double().sum()) for v in model.trainable_variables))
