"""A denoising diffusion trainer: an endless loader, gradient accumulation, samples from an EMA of the model."""

import copy
import math

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


def cycle(dl):
    while True:
        yield from dl


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half_dim = self.dim // 2
        emb = torch.exp(torch.arange(half_dim) * -(math.log(10000) / (half_dim - 1)))
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class Unet(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.init_conv = nn.Conv2d(1, dim, 3, padding=1)
        self.norm = nn.GroupNorm(2, dim)
        self.final_conv = nn.Conv2d(dim, 1, 3, padding=1)

    def forward(self, x, time):
        t = self.time_mlp(time.float())[:, :, None, None]
        return self.final_conv(F.silu(self.norm(self.init_conv(x)) + t))


class GaussianDiffusion(nn.Module):
    def __init__(self, model, timesteps=4):
        super().__init__()
        self.model = model
        self.num_timesteps = timesteps
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - torch.linspace(0.05, 0.4, timesteps), 0))

    @torch.inference_mode()
    def sample(self, batch_size):
        img = torch.randn(batch_size, 1, 4, 4)
        for t in reversed(range(self.num_timesteps)):
            img = img - 0.1 * self.model(img, torch.full((batch_size,), t))
        return img

    def forward(self, img):
        t = torch.randint(0, self.num_timesteps, (img.shape[0],))
        noise = torch.randn_like(img)
        alpha = self.alphas_cumprod[t][:, None, None, None]
        return F.mse_loss(self.model(alpha.sqrt() * img + (1 - alpha).sqrt() * noise, t), noise)


class EMA(nn.Module):
    def __init__(self, model, beta=0.9):
        super().__init__()
        self.beta = beta
        self.online_model = model
        self.ema_model = copy.deepcopy(model)
        self.ema_model.requires_grad_(False)

    @torch.no_grad()
    def update(self):
        for ma, current in zip(self.ema_model.parameters(), self.online_model.parameters(), strict=True):
            ma.lerp_(current, 1 - self.beta)


class Trainer:
    def __init__(self, diffusion_model, images, train_num_steps=22, sample_every=11, accumulate=2):
        self.model = diffusion_model
        self.train_num_steps, self.sample_every, self.accumulate = train_num_steps, sample_every, accumulate
        self.dl = cycle(DataLoader(images, batch_size=16, shuffle=True, num_workers=0))
        self.opt = torch.optim.Adam(diffusion_model.parameters(), lr=1e-2, betas=(0.9, 0.99))
        self.ema = EMA(diffusion_model)
        self.step = 0

    def train(self):
        while self.step < self.train_num_steps:
            self.model.train()
            total_loss = 0.0
            for _ in range(self.accumulate):
                loss = self.model(next(self.dl)) / self.accumulate
                total_loss += loss.item()
                loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.opt.step()
            self.opt.zero_grad()
            self.step += 1
            self.ema.update()
            if self.step % self.sample_every == 0:
                self.ema.ema_model.eval()
                print(f"{self.step}: loss {total_loss:.4f}, samples {self.ema.ema_model.sample(5).std().item():.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    diffusion = GaussianDiffusion(Unet(8))
    trainer = Trainer(diffusion, torch.randn(128, 1, 4, 4).tanh())
    trainer.train()
    print(fingerprint(diffusion, trainer.ema))
