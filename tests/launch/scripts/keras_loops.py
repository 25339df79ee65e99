"""Trainings of Keras on PyTorch that are not `fit` alone. Its argument is a file for what its own hooks count."""

import sys

import torch
from keras_counting import Epochs, count, epoch, keras, np, save, tell

layers = keras.layers
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(160, 8)).astype("float32")
y = x[:, :3].argmax(1)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(torch.as_tensor(x), torch.as_tensor(y)), batch_size=20, shuffle=True
)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network():
    return keras.Sequential([layers.Dense(16, activation="relu"), layers.Dropout(0.3), layers.Dense(3)])


class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.discriminator = keras.Sequential([keras.Input((8,)), layers.Dense(8), layers.Dense(1)], name="judge")
        self.generator = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.Dense(8)], name="maker")
        self.built = True

    def compile(self, d_optimizer, g_optimizer):
        super().compile(loss=None)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def train_step(self, real):
        real = real[0] if isinstance(real, tuple) else real
        fake = self.generator(torch.ones(len(real), 4))
        d_loss = (self.discriminator(fake.detach()) - self.discriminator(real)).mean()
        self.zero_grad()
        d_loss.backward()
        weights = self.discriminator.trainable_weights
        with torch.no_grad():
            self.d_optimizer.apply([v.value.grad for v in weights], weights)
        g_loss = -self.discriminator(self.generator(torch.ones(len(real), 4))).mean()
        self.zero_grad()
        g_loss.backward()
        weights = self.generator.trainable_weights
        with torch.no_grad():
            self.g_optimizer.apply([v.value.grad for v in weights], weights)
        return {"d_loss": d_loss.detach()}


# A loop of its own, whose optimizer learns by its first step what it trains; parts that no optimizer trains.
loop = network()
other = network()
optimizer = keras.optimizers.Adam(0.01)
other(torch.as_tensor(x[:20]))
loop.build((None, 8))
count("loop", loop)
for number in range(3):
    epoch[0] = number + 1
    for batch, labels in loader:
        loss = loss_of(labels, loop(batch, training=True))
        loop.zero_grad()
        loss.backward()
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in loop.trainable_weights], loop.trainable_weights)
    with torch.no_grad():
        loop(torch.as_tensor(x[:40]), training=False)
tell(loop)

# The same with an optimizer of PyTorch, and nothing said of training.
plain = network()
plain.build((None, 8))
count("plain", plain)
optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
for number in range(3):
    epoch[0] = number + 1
    for batch, labels in loader:
        optimizer.zero_grad()
        loss_of(labels, plain(batch)).backward()
        optimizer.step()
tell(plain)

# Two batches a step.
summed = network()
summed.compile(
    keras.optimizers.SGD(0.01, gradient_accumulation_steps=2), keras.losses.SparseCategoricalCrossentropy(True)
)
count("summed", summed)
print(summed.fit(x, y, batch_size=20, epochs=3, verbose=0, callbacks=[Epochs()]).history)
tell(summed)

gan = GAN()
gan.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01))
count("gan", gan)
print(gan.fit(x, batch_size=20, epochs=3, verbose=0, callbacks=[Epochs()]).history)
tell(gan)

# Images with channels last, a recurrent layer, a module of PyTorch.
images = keras.Input((6, 6, 2))
h = layers.Conv2D(4, 3, name="conv")(images)
h = layers.BatchNormalization(name="norm")(h)
h = layers.TimeDistributed(layers.Dense(5, name="inner"), name="timed")(layers.Reshape((4, 16))(h))
h = layers.LSTM(6, name="memory")(h)
h = layers.Dense(4, name="before")(h)
mixed = keras.Model(
    images,
    layers.Dense(3, name="last")(
        layers.TorchModuleWrapper(torch.nn.Linear(4, 4), name="torch", output_shape=(None, 4))(h)
    ),
)
mixed.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
count("mixed", mixed)
pixels = np.random.default_rng(1).normal(size=(160, 6, 6, 2)).astype("float32")
print(mixed.fit(pixels, y, batch_size=20, epochs=3, verbose=0, callbacks=[Epochs()]).history)
tell(mixed)
save(sys.argv[1])
