"""The annotated transformer: batches from a generator, masks, `run_epoch` for training and validation."""

import math

import torch
from fingerprint import fingerprint
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

V = 11


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model, dropout=0.1):
        super().__init__()
        self.d_k, self.h = d_model // h, h
        self.linears = nn.ModuleList([nn.Linear(d_model, d_model) for _ in range(4)])
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, query, key, value, mask=None):
        nbatches = query.size(0)
        query, key, value = (
            lin(x).view(nbatches, -1, self.h, self.d_k).transpose(1, 2)
            for lin, x in zip(self.linears, (query, key, value), strict=False)
        )
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.d_k)
        scores = scores.masked_fill(mask.unsqueeze(1) == 0, -1e9)
        x = self.dropout(scores.softmax(dim=-1)) @ value
        return self.linears[-1](x.transpose(1, 2).contiguous().view(nbatches, -1, self.h * self.d_k))


class DecoderLayer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.self_attn, self.src_attn = MultiHeadedAttention(2, size), MultiHeadedAttention(2, size)
        self.feed_forward = nn.Sequential(nn.Linear(size, 24), nn.ReLU(), nn.Linear(24, size))
        self.norms = nn.ModuleList([nn.LayerNorm(size) for _ in range(3)])

    def forward(self, x, memory, src_mask, tgt_mask):
        y = self.norms[0](x)
        x = x + self.self_attn(y, y, y, tgt_mask)
        x = x + self.src_attn(self.norms[1](x), memory, memory, src_mask)
        return x + self.feed_forward(self.norms[2](x))


class EncoderDecoder(nn.Module):
    def __init__(self, size=12):
        super().__init__()
        self.src_embed, self.tgt_embed = nn.Embedding(V, size), nn.Embedding(V, size)
        self.encoder = nn.TransformerEncoderLayer(size, 2, 24, batch_first=True)
        self.decoder = DecoderLayer(size)
        self.generator = nn.Linear(size, V)

    def encode(self, src):
        return self.encoder(self.src_embed(src))

    def forward(self, src, tgt, src_mask, tgt_mask):
        return self.decoder(self.tgt_embed(tgt), self.encode(src), src_mask, tgt_mask)


class Batch:
    def __init__(self, data):
        self.src, self.tgt, self.tgt_y = data, data[:, :-1], data[:, 1:]
        self.src_mask = torch.ones(len(data), 1, data.size(1))
        self.tgt_mask = torch.tril(torch.ones(1, self.tgt.size(1), self.tgt.size(1)))
        self.ntokens = self.tgt_y.numel()


def data_gen(batch_size, nbatches):
    for _ in range(nbatches):
        data = torch.randint(1, V, size=(batch_size, 6))
        data[:, 0] = 1
        yield Batch(data)


class SimpleLossCompute:
    def __init__(self, generator, criterion):
        self.generator, self.criterion = generator, criterion

    def __call__(self, x, y, norm):
        x = self.generator(x).log_softmax(-1)
        sloss = self.criterion(x.contiguous().view(-1, x.size(-1)), y.contiguous().view(-1)) / norm
        return sloss.data * norm, sloss


def run_epoch(data_iter, model, loss_compute, optimizer, scheduler, mode="train"):
    total_loss, total_tokens = 0, 0
    for batch in data_iter:
        out = model.forward(batch.src, batch.tgt, batch.src_mask, batch.tgt_mask)
        loss, loss_node = loss_compute(out, batch.tgt_y, batch.ntokens)
        if mode == "train":
            loss_node.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
        total_loss, total_tokens = total_loss + loss.item(), total_tokens + batch.ntokens
    return total_loss / total_tokens


def example_simple_model():
    model = EncoderDecoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5, betas=(0.9, 0.98), eps=1e-9)
    scheduler = LambdaLR(optimizer, lambda step: 12**-0.5 * min((step + 1) ** -0.5, (step + 1) * 40**-1.5))
    compute = SimpleLossCompute(model.generator, nn.NLLLoss(reduction="sum"))
    for epoch in range(3):
        model.train()
        run_epoch(data_gen(10, 7), model, compute, optimizer, scheduler)
        model.eval()
        with torch.no_grad():
            loss = run_epoch(data_gen(10, 2), model, compute, None, None, mode="eval")
        print(f"Epoch {epoch} Validation Loss: {loss:.4f}")
    print(fingerprint(model))


torch.manual_seed(0)
example_simple_model()
