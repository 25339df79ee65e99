"""makemore: an infinite loader, evaluations of both data sets, samples drawn in training mode."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader


class CharDataset(Dataset):
    def __init__(self, words):
        self.words = words

    def __len__(self):
        return len(self.words)

    def __getitem__(self, idx):
        word = self.words[idx]
        return torch.cat([torch.zeros(1, dtype=torch.long), word]), torch.cat([word, torch.zeros(1, dtype=torch.long)])


class InfiniteDataLoader:
    """This is really hacky and I'm not proud of it."""

    def __init__(self, dataset, **kwargs):
        sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=int(1e10))
        self.train_loader = DataLoader(dataset, sampler=sampler, **kwargs)
        self.data_iter = iter(self.train_loader)

    def next(self):
        try:
            batch = next(self.data_iter)
        except StopIteration:
            self.data_iter = iter(self.train_loader)
            batch = next(self.data_iter)
        return batch


class MLP(nn.Module):
    def __init__(self, vocab_size=10, block_size=3, n_embd=8, n_embd2=16):
        super().__init__()
        self.block_size = block_size
        self.wte = nn.Embedding(vocab_size + 1, n_embd)
        self.mlp = nn.Sequential(nn.Linear(block_size * n_embd, n_embd2), nn.Tanh(), nn.Linear(n_embd2, vocab_size))

    def get_block_size(self):
        return self.block_size

    def forward(self, idx, targets=None):
        embs = []
        for _ in range(self.block_size):
            embs.append(self.wte(idx))
            idx = torch.roll(idx, 1, 1)
            idx[:, 0] = 10
        logits = self.mlp(torch.cat(embs, -1))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss


@torch.no_grad()
def generate(model, idx, max_new_tokens):
    for _ in range(max_new_tokens):
        logits, _ = model(idx)
        idx = torch.cat((idx, logits[:, -1].argmax(-1, keepdim=True)), dim=1)
    return idx


def print_samples(num=4):
    print(generate(model, torch.zeros(num, 1, dtype=torch.long), 5)[:, 1:].tolist())


@torch.inference_mode()
def evaluate(model, dataset, batch_size=20, max_batches=None):
    model.eval()
    loader = DataLoader(dataset, shuffle=True, batch_size=batch_size, num_workers=0)
    losses = []
    for i, (X, Y) in enumerate(loader):
        _, loss = model(X, Y)
        losses.append(loss.item())
        if max_batches is not None and i >= max_batches:
            break
    model.train()
    return torch.tensor(losses).mean().item()


if __name__ == "__main__":
    torch.manual_seed(3407)
    words = torch.randint(1, 10, (300, 6)).sort(1)[0]
    train_dataset, test_dataset = CharDataset(words[:260]), CharDataset(words[260:])
    model = MLP()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    batch_loader = InfiniteDataLoader(train_dataset, batch_size=16, pin_memory=False, num_workers=0)
    step = 0
    while True:
        X, Y = batch_loader.next()
        _, loss = model(X, Y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step} | loss {loss.item():.4f}")
        if step > 0 and step % 11 == 0:
            train_loss = evaluate(model, train_dataset, max_batches=4)
            test_loss = evaluate(model, test_dataset, max_batches=4)
            print(f"step {step} train loss: {train_loss:.4f} test loss: {test_loss:.4f}")
        if step > 0 and step % 15 == 0:
            print_samples()
        step += 1
        if step >= 44:
            break
    print(fingerprint(model))
