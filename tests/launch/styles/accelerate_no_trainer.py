"""Hugging Face's run_glue_no_trainer: accelerate, `no_grad` inside the evaluation loop, gradient accumulation."""

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from fingerprint import fingerprint
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, get_scheduler


def examples(count):
    for length in torch.randint(4, 10, (count,)).tolist():
        ids = torch.randint(5, 30, (length,))
        yield {"input_ids": ids, "labels": int(ids[0] > 17)}


def collate(batch):
    longest = max(len(example["input_ids"]) for example in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, example in zip(ids, batch, strict=True):
        row[: len(example["input_ids"])] = example["input_ids"]
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([e["labels"] for e in batch])}


def main():
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    set_seed(7)
    train_dataloader = DataLoader(list(examples(96)), shuffle=True, collate_fn=collate, batch_size=8)
    eval_dataloader = DataLoader(list(examples(32)), collate_fn=collate, batch_size=8)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    lr_scheduler = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=18)
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler
    )
    for epoch in range(3):
        model.train()
        total_loss = 0
        for batch in train_dataloader:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                total_loss += loss.detach().float()
                accelerator.backward(loss)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
        model.eval()
        correct = 0
        for batch in eval_dataloader:
            with torch.no_grad():
                outputs = model(**batch)
            predictions = outputs.logits.argmax(dim=-1)
            predictions, references = accelerator.gather_for_metrics((predictions, batch["labels"]))
            correct += (predictions == references).sum().item()
        accelerator.print(f"epoch {epoch}: loss {total_loss.item():.4f} accuracy {correct / 32:.4f}")
    print(fingerprint(accelerator.unwrap_model(model)))


if __name__ == "__main__":
    main()
