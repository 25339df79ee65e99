"""CycleGAN: a class makes four networks and two optimizers, of which each holds two."""

import itertools

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ResnetGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, input):
        return self.model(input)


class NLayerDiscriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, 4, 2, stride=2), nn.LeakyReLU(0.2, True), nn.Conv2d(4, 1, 2))

    def forward(self, input):
        return self.model(input)


class CycleGANModel:
    def __init__(self):
        self.netG_A, self.netG_B = ResnetGenerator(), ResnetGenerator()
        self.netD_A, self.netD_B = NLayerDiscriminator(), NLayerDiscriminator()
        self.optimizer_G = torch.optim.Adam(
            itertools.chain(self.netG_A.parameters(), self.netG_B.parameters()), lr=2e-3, betas=(0.5, 0.999)
        )
        self.optimizer_D = torch.optim.Adam(
            itertools.chain(self.netD_A.parameters(), self.netD_B.parameters()), lr=2e-3, betas=(0.5, 0.999)
        )

    def set_requires_grad(self, nets, requires_grad):
        for net in nets:
            net.requires_grad_(requires_grad)

    def optimize_parameters(self, real_A, real_B):
        fake_B = self.netG_A(real_A)
        rec_A = self.netG_B(fake_B)
        fake_A = self.netG_B(real_B)
        rec_B = self.netG_A(fake_A)
        self.set_requires_grad([self.netD_A, self.netD_B], False)
        self.optimizer_G.zero_grad()
        loss_G = (self.netD_A(fake_B) - 1).square().mean() + (self.netD_B(fake_A) - 1).square().mean()
        loss_G = loss_G + 10 * ((rec_A - real_A).abs().mean() + (rec_B - real_B).abs().mean())
        loss_G.backward()
        self.optimizer_G.step()
        self.set_requires_grad([self.netD_A, self.netD_B], True)
        self.optimizer_D.zero_grad()
        for net, real, fake in ((self.netD_A, real_B, fake_B), (self.netD_B, real_A, fake_A)):
            loss_D = ((net(real) - 1).square().mean() + net(fake.detach()).square().mean()) * 0.5
            loss_D.backward()
        self.optimizer_D.step()
        return loss_G.item(), loss_D.item()


if __name__ == "__main__":
    torch.manual_seed(0)
    dataset = DataLoader(TensorDataset(torch.randn(64, 1, 4, 4), torch.rand(64, 1, 4, 4)), batch_size=8, shuffle=True)
    model = CycleGANModel()
    for epoch in range(1, 4):
        for real_A, real_B in dataset:
            loss_G, loss_D = model.optimize_parameters(real_A, real_B)
        print(f"(epoch: {epoch}) G: {loss_G:.3f} D: {loss_D:.3f}")
    print(fingerprint(model.netG_A, model.netG_B, model.netD_A, model.netD_B))
