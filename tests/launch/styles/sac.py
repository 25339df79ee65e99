"""cleanrl's SAC: an actor, two critics with one optimizer, their targets, a temperature that is a tensor."""

import numpy as np
import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.nn import functional as F


class SoftQNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 16)
        self.fc2 = nn.Linear(16, 1)

    def forward(self, x, a):
        return self.fc2(F.relu(self.fc1(torch.cat([x, a], 1))))


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 16)
        self.fc_mean = nn.Linear(16, 1)
        self.fc_logstd = nn.Linear(16, 1)
        self.register_buffer("action_scale", torch.tensor(1.0))

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc_mean(x), -5 + 0.5 * 7 * (torch.tanh(self.fc_logstd(x)) + 1)

    def get_action(self, x):
        mean, log_std = self(x)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x_t = normal.rsample()
        action = torch.tanh(x_t) * self.action_scale
        log_prob = normal.log_prob(x_t) - torch.log(self.action_scale * (1 - torch.tanh(x_t).pow(2)) + 1e-6)
        return action, log_prob.sum(1, keepdim=True)


if __name__ == "__main__":
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    actor = Actor()
    qf1, qf2, qf1_target, qf2_target = SoftQNetwork(), SoftQNetwork(), SoftQNetwork(), SoftQNetwork()
    qf1_target.load_state_dict(qf1.state_dict())
    qf2_target.load_state_dict(qf2.state_dict())
    q_optimizer = optim.Adam(list(qf1.parameters()) + list(qf2.parameters()), lr=3e-3)
    actor_optimizer = optim.Adam(list(actor.parameters()), lr=1e-3)
    log_alpha = torch.zeros(1, requires_grad=True)
    alpha = log_alpha.exp().item()
    a_optimizer = optim.Adam([log_alpha], lr=3e-3)
    obs, buffer = rng.normal(size=3).astype(np.float32), []
    for global_step in range(44):
        if global_step < 20:
            action = rng.uniform(-1, 1, 1).astype(np.float32)
        else:
            action, _ = actor.get_action(torch.Tensor(obs[None]))
            action = action.detach().numpy()[0]
        next_obs = (0.9 * obs + 0.3 * action + rng.normal(0, 0.05, 3)).astype(np.float32)
        buffer.append((obs, action, next_obs, -np.abs(next_obs).sum()))
        obs = next_obs
        if global_step < 20:
            continue
        chosen = rng.integers(0, len(buffer), 16)
        o, a, n, r = (torch.tensor(np.array([buffer[i][k] for i in chosen]), dtype=torch.float32) for k in range(4))
        with torch.no_grad():
            next_actions, next_log_pi = actor.get_action(n)
            target = torch.min(qf1_target(n, next_actions), qf2_target(n, next_actions)) - alpha * next_log_pi
            next_q_value = r + 0.9 * target.view(-1)
        qf_loss = F.mse_loss(qf1(o, a).view(-1), next_q_value) + F.mse_loss(qf2(o, a).view(-1), next_q_value)
        q_optimizer.zero_grad()
        qf_loss.backward()
        q_optimizer.step()
        if global_step % 2 == 0:
            for _ in range(2):
                pi, log_pi = actor.get_action(o)
                actor_loss = ((alpha * log_pi) - torch.min(qf1(o, pi), qf2(o, pi))).mean()
                actor_optimizer.zero_grad()
                actor_loss.backward()
                actor_optimizer.step()
                with torch.no_grad():
                    _, log_pi = actor.get_action(o)
                alpha_loss = (-log_alpha.exp() * (log_pi - 1.0)).mean()
                a_optimizer.zero_grad()
                alpha_loss.backward()
                a_optimizer.step()
                alpha = log_alpha.exp().item()
        for q, t in ((qf1, qf1_target), (qf2, qf2_target)):
            for param, target_param in zip(q.parameters(), t.parameters(), strict=True):
                target_param.data.copy_(0.05 * param.data + 0.95 * target_param.data)
        if global_step % 10 == 0:
            print(f"step {global_step}: qf loss {qf_loss.item():.4f} actor loss {actor_loss.item():.4f} {alpha:.4f}")
    print(fingerprint(actor, qf1, qf2))
