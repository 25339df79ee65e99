"""PyTorch's example reinforcement_learning/reinforce: a forward for every action, a step for every episode."""

from collections import deque

import numpy as np
import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.distributions import Categorical
from torch.nn import functional as F


class Balance:
    """A pole that falls."""

    def reset(self, seed):
        self.state = np.random.default_rng(seed).normal(0, 0.1, 4).astype(np.float32)
        return self.state

    def step(self, action):
        self.state = (self.state * 1.15 + np.array([0, 0.1, 0, -0.1], np.float32) * (2 * action - 1)).astype(np.float32)
        return self.state, 1.0, bool(np.abs(self.state).max() > 1)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 16)
        self.dropout = nn.Dropout(p=0.3)
        self.affine2 = nn.Linear(16, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.affine2(x), dim=1)


torch.manual_seed(543)
env = Balance()
policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
eps = np.finfo(np.float32).eps.item()


def select_action(state):
    probs = policy(torch.from_numpy(state).float().unsqueeze(0))
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode():
    R = 0
    returns = deque()
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.appendleft(R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    policy_loss = [-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns, strict=True)]
    optimizer.zero_grad()
    torch.cat(policy_loss).sum().backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]


def main():
    running_reward = 10
    for i_episode in range(22):
        state, ep_reward = env.reset(i_episode), 0
        for _ in range(1, 16):
            action = select_action(state)
            state, reward, done = env.step(action)
            policy.rewards.append(reward)
            ep_reward += reward
            if done:
                break
        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        finish_episode()
        if i_episode % 10 == 0:
            print(f"Episode {i_episode}\tLast reward: {ep_reward:.2f}\tAverage reward: {running_reward:.2f}")
    print(fingerprint(policy))


if __name__ == "__main__":
    main()
