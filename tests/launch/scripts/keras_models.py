"""Models of Keras on PyTorch, of every kind, trained by `fit`. Its argument is a file for what its own hooks count."""

import sys

from keras_counting import Epochs, count, keras, np, save, tell

layers = keras.layers


def hidden():
    return [layers.Dense(16, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3)]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(16, activation="relu")
        self.blocks = [layers.Dense(16, activation="relu") for _ in range(2)]
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.3)
        self.last = layers.Dense(3, activation="softmax")

    def call(self, x, training=None):
        x = self.norm(self.first(x), training=training)
        for block in self.blocks:
            x = x + block(x)
        return self.last(self.dropout(x, training=training))


def functional():
    inputs = keras.Input((8,))
    x = layers.Dense(16, name="first")(inputs)
    for layer in hidden():
        x = layer(x)
    encoder = keras.Model(inputs, x, name="encoder")
    outputs = layers.Dense(3, activation="softmax")(encoder.output)
    return keras.Model(inputs, outputs), encoder


def grown():
    model = keras.Sequential()
    model.add(keras.Input((8,)))
    for layer in (*hidden(), layers.Dense(3, activation="softmax")):
        model.add(layer)
    return model


def train(name, model, **options):
    count(name, model)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        *(x[:160], y[:160]), batch_size=20, epochs=3, validation_data=(x[160:], y[160:]), verbose=0, **options
    )
    print(name, history.history)
    tell(model)


keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
y = x[:, :3].argmax(1)
callbacks = [Epochs()]

whole = keras.Sequential([keras.Input((8,)), *hidden(), layers.Dense(3, activation="softmax")])
train("whole", whole, callbacks=callbacks)
print(whole.evaluate(x[:40], y[:40], verbose=0), whole.predict(x[:30], verbose=0).sum())

unbuilt = keras.Sequential([*hidden(), layers.Dense(3, activation="softmax")])
train("unbuilt", unbuilt, callbacks=callbacks)

added = grown()
train("added", added, callbacks=callbacks)

graph, encoder = functional()
train("graph", graph, callbacks=callbacks)

own = Subclassed()
train("own", own, callbacks=callbacks)

# Epochs of Keras that are shorter than a pass over the data.
part = keras.Sequential([keras.Input((8,)), *hidden(), layers.Dense(3, activation="softmax")])
train("part", part, callbacks=callbacks, steps_per_epoch=4)

save(sys.argv[1])
