"""A tutorial's agent: the network makes its own optimizer, and the agent the network."""

import numpy as np
import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.nn import functional as F


class DeepQNetwork(nn.Module):
    def __init__(self, lr, input_dims, fc1_dims, n_actions):
        super().__init__()
        self.fc1 = nn.Linear(input_dims, fc1_dims)
        self.fc2 = nn.Linear(fc1_dims, n_actions)
        self.optimizer = optim.Adam(self.parameters(), lr=lr)
        self.loss = nn.MSELoss()
        self.device = torch.device("cpu")
        self.to(self.device)

    def forward(self, state):
        return self.fc2(F.relu(self.fc1(state)))


class Agent:
    def __init__(self, gamma, lr, batch_size, mem_size=200):
        self.gamma, self.batch_size, self.mem_size, self.mem_cntr = gamma, batch_size, mem_size, 0
        self.Q_eval = DeepQNetwork(lr, 3, 16, 2)
        self.state_memory = np.zeros((mem_size, 3), dtype=np.float32)
        self.new_state_memory = np.zeros((mem_size, 3), dtype=np.float32)
        self.action_memory = np.zeros(mem_size, dtype=np.int32)
        self.reward_memory = np.zeros(mem_size, dtype=np.float32)
        self.rng = np.random.default_rng(0)

    def store(self, state, action, reward, new_state):
        index = self.mem_cntr % self.mem_size
        self.state_memory[index], self.new_state_memory[index] = state, new_state
        self.action_memory[index], self.reward_memory[index] = action, reward
        self.mem_cntr += 1

    def choose_action(self, observation):
        if self.rng.random() < 0.3:
            return int(self.rng.integers(2))
        return torch.argmax(self.Q_eval(torch.tensor(observation[None]))).item()

    def learn(self):
        if self.mem_cntr < self.batch_size:
            return
        self.Q_eval.optimizer.zero_grad()
        batch = self.rng.choice(min(self.mem_cntr, self.mem_size), self.batch_size, replace=False)
        q_eval = self.Q_eval(torch.tensor(self.state_memory[batch]))[
            np.arange(self.batch_size), self.action_memory[batch]
        ]
        q_next = self.Q_eval(torch.tensor(self.new_state_memory[batch]))
        q_target = torch.tensor(self.reward_memory[batch]) + self.gamma * torch.max(q_next, dim=1)[0].detach()
        loss = self.Q_eval.loss(q_target, q_eval)
        loss.backward()
        self.Q_eval.optimizer.step()


if __name__ == "__main__":
    torch.manual_seed(0)
    agent = Agent(gamma=0.9, lr=0.003, batch_size=16)
    for i in range(5):
        observation, score = np.ones(3, np.float32) * 0.1 * i, 0.0
        for _ in range(8):
            action = agent.choose_action(observation)
            observation_ = (observation * 0.9 + 0.1 * (2 * action - 1)).astype(np.float32)
            reward = -float(np.abs(observation_).sum())
            score += reward
            agent.store(observation, action, reward, observation_)
            agent.learn()
            observation = observation_
        print(f"episode {i} score {score:.2f}")
    print(fingerprint(agent.Q_eval))
