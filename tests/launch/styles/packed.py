"""A text classifier: sequences of different lengths, padded, packed for an LSTM."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(0)
samples = []
for length in torch.randint(3, 9, (140,)).tolist():
    tokens = torch.randint(1, 20, (length,))
    samples.append((tokens, int(tokens.float().mean() > 10)))


def collate_batch(batch):
    texts, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(text) for text in texts])
    return pad_sequence(texts, batch_first=True), lengths, torch.tensor(labels)


class TextClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 10, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(20, 2)

    def forward(self, text, lengths):
        packed = pack_padded_sequence(self.embedding(text), lengths, batch_first=True, enforce_sorted=False)
        output, (hidden, _) = self.lstm(packed)
        pad_packed_sequence(output, batch_first=True)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))


train_dl = DataLoader(samples[:110], batch_size=10, shuffle=True, collate_fn=collate_batch)
valid_dl = DataLoader(samples[110:], batch_size=10, shuffle=False, collate_fn=collate_batch)
model = TextClassifier()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def run(dataloader, *, training):
    model.train(training)
    total_acc = 0
    with torch.set_grad_enabled(training):
        for text, lengths, label in dataloader:
            pred = model(text, lengths)
            loss = loss_fn(pred, label)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total_acc += (pred.argmax(1) == label).sum().item()
    return total_acc / len(dataloader.dataset)


for epoch in range(3):
    acc_train = run(train_dl, training=True)
    acc_valid = run(valid_dl, training=False)
    print(f"Epoch {epoch} accuracy: {acc_train:.4f} val_accuracy: {acc_valid:.4f}")
print(fingerprint(model))
