"""An LSTM language model with gradient clipping."""

import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

VOCABULARY, LENGTH = 20, 12


class Text(Dataset):
    def __init__(self, tokens):
        self.tokens = tokens

    def __len__(self):
        return (len(self.tokens) - 1) // LENGTH

    def __getitem__(self, item):
        piece = self.tokens[item * LENGTH : (item + 1) * LENGTH + 1]
        return piece[:-1], piece[1:]


class LanguageModel(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.dropout = nn.Dropout(0.2)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True, dropout=0.2)
        self.decoder = nn.Linear(width, VOCABULARY)

    def forward(self, tokens, state=None):
        output, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.decoder(self.dropout(output)), state


def make_text(length):
    tokens = [0]
    for step in torch.randint(1, 4, (length,)).tolist():
        tokens.append((3 * tokens[-1] + step) % VOCABULARY)
    return torch.tensor(tokens)


def run(model, loader, criterion, optimizer=None):
    total = 0.0
    for tokens, following in loader:
        logits, _ = model(tokens)
        loss = criterion(logits.flatten(0, 1), following.flatten())
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        total += loss.item()
    return math.exp(total / len(loader))


def main():
    torch.manual_seed(5)
    train_loader = DataLoader(Text(make_text(1000)), batch_size=16, shuffle=True)
    val_loader = DataLoader(Text(make_text(200)), batch_size=16)
    model = LanguageModel()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(3):
        model.train()
        train_perplexity = run(model, train_loader, criterion, optimizer)
        model.eval()
        with torch.no_grad():
            val_perplexity = run(model, val_loader, criterion)
        print(f"{epoch=} {train_perplexity=:.4f} {val_perplexity=:.4f}")
    print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
