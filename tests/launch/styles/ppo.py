"""cleanrl's PPO: one agent that is never called as a whole, acting under `no_grad`, minibatches of a rollout."""

import numpy as np
import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.distributions.categorical import Categorical


class Envs:
    """Several points that walk on a line."""

    def __init__(self, num_envs):
        self.rng = np.random.default_rng(1)
        self.state = self.rng.normal(size=(num_envs, 4)).astype(np.float32)

    def step(self, action):
        push = np.zeros_like(self.state)
        push[:, 0] = 0.2 * (action - 0.5)
        self.state = (0.95 * self.state + push + self.rng.normal(0, 0.05, self.state.shape)).astype(np.float32)
        return self.state, -np.abs(self.state[:, 0])


def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(4, 16)), nn.Tanh(), layer_init(nn.Linear(16, 1), std=1.0))
        self.actor = nn.Sequential(layer_init(nn.Linear(4, 16)), nn.Tanh(), layer_init(nn.Linear(16, 2), std=0.01))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


if __name__ == "__main__":
    num_envs, num_steps, num_iterations, update_epochs, minibatch_size = 4, 8, 6, 2, 16
    batch_size = num_envs * num_steps
    torch.manual_seed(1)
    envs = Envs(num_envs)
    agent = Agent()
    optimizer = optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
    obs = torch.zeros((num_steps, num_envs, 4))
    actions, logprobs, rewards, values = (torch.zeros((num_steps, num_envs)) for _ in range(4))
    next_obs = torch.Tensor(envs.state)
    for iteration in range(1, num_iterations + 1):
        for step in range(num_steps):
            obs[step] = next_obs
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
                values[step] = value.flatten()
            actions[step], logprobs[step] = action, logprob
            state, reward = envs.step(action.numpy())
            rewards[step], next_obs = torch.tensor(reward), torch.Tensor(state)
        with torch.no_grad():
            next_value = agent.get_value(next_obs).flatten()
            returns = torch.zeros_like(rewards)
            for t in reversed(range(num_steps)):
                next_value = rewards[t] + 0.9 * next_value
                returns[t] = next_value
            advantages = returns - values
        b_obs, b_actions = obs.reshape(-1, 4), actions.reshape(-1)
        b_logprobs, b_advantages, b_returns = logprobs.reshape(-1), advantages.reshape(-1), returns.reshape(-1)
        for _ in range(update_epochs):
            b_inds = torch.randperm(batch_size)
            for start in range(0, batch_size, minibatch_size):
                mb = b_inds[start : start + minibatch_size]
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[mb], b_actions.long()[mb])
                ratio = (newlogprob - b_logprobs[mb]).exp()
                pg_loss = -torch.min(b_advantages[mb] * ratio, b_advantages[mb] * ratio.clamp(0.8, 1.2)).mean()
                v_loss = 0.5 * ((newvalue.view(-1) - b_returns[mb]) ** 2).mean()
                loss = pg_loss - 0.01 * entropy.mean() + 0.5 * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        print(f"iteration {iteration}: return {rewards.sum().item():.3f} value loss {v_loss.item():.4f}")
    print(fingerprint(agent))
