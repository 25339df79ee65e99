"""Two models and two optimizers that train each other."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
NOISE = 6


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(NOISE, 8 * 4)
        self.norm1 = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.norm2 = nn.BatchNorm2d(4)
        self.paint = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, z):
        x = self.project(z).view(-1, 8, 2, 2).relu()
        x = self.norm2(self.up(self.norm1(x))).relu()
        return self.paint(x).tanh()


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(16, 12)
        self.score = nn.Linear(12, 1)

    def forward(self, x):
        return self.score(nn.functional.leaky_relu(self.hidden(x.flatten(1)), 0.2)).squeeze(1)


real = torch.tanh(torch.randn(200, 1, 4, 4) + torch.linspace(-1, 1, 4))
loader = DataLoader(TensorDataset(real), batch_size=40, shuffle=True)
generator, discriminator = Generator(), Discriminator()
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
bce = nn.BCEWithLogitsLoss()

for epoch in range(3):
    for (images,) in loader:
        ones, zeros = torch.ones(len(images)), torch.zeros(len(images))
        fake = generator(torch.randn(len(images), NOISE))

        optimizer_d.zero_grad()
        loss_d = bce(discriminator(images), ones) + bce(discriminator(fake.detach()), zeros)
        loss_d.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        loss_g = bce(discriminator(fake), ones)
        loss_g.backward()
        optimizer_g.step()
    print(f"epoch {epoch}: D {loss_d.item():.4f} G {loss_g.item():.4f}")

states = [*generator.state_dict().values(), *discriminator.state_dict().values()]
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in states)).hexdigest())
