"""PyTorch's recipe for mixed precision: autocast and a GradScaler."""

import torch
from fingerprint import fingerprint
from torch import nn

torch.manual_seed(0)


def make_model(in_size, out_size, num_layers):
    layers = []
    for _ in range(num_layers - 1):
        layers.append(nn.Linear(in_size, in_size))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(in_size, out_size))
    return nn.Sequential(*layers)


data = [torch.randn(20, 12) for _ in range(10)]
targets = [x[:, :4] * 2 for x in data]
loss_fn = nn.MSELoss()
use_amp = True
net = make_model(12, 4, 3)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
scaler = torch.amp.GradScaler("cpu", enabled=use_amp)
for epoch in range(4):
    for input, target in zip(data, targets, strict=True):
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16, enabled=use_amp):
            output = net(input)
            loss = loss_fn(output.float(), target)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    print(f"epoch {epoch}: loss {loss.item():.4f} scale {scaler.get_scale():.0f}")
print(fingerprint(net))
