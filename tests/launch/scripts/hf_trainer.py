"""The Trainer of transformers on a small GPT-2; the first argument is where it may write."""

import hashlib
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainingArguments, set_seed

set_seed(6)


class Sentences(torch.utils.data.Dataset):
    def __init__(self, count):
        starts = torch.randint(0, 24, (count, 1))
        self.tokens = (starts + torch.arange(10) * torch.randint(1, 4, (count, 1))) % 24

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, item):
        return {"input_ids": self.tokens[item], "labels": self.tokens[item]}


config = GPT2Config(
    vocab_size=24, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, use_cache=False
)
model = GPT2LMHeadModel(config)
arguments = TrainingArguments(
    output_dir=sys.argv[1],
    num_train_epochs=3,
    per_device_train_batch_size=8,
    per_device_eval_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=3e-3,
    eval_strategy="epoch",
    save_strategy="no",
    logging_strategy="no",
    report_to=[],
    disable_tqdm=True,
    use_cpu=True,
    seed=6,
)
trainer = Trainer(model=model, args=arguments, train_dataset=Sentences(72), eval_dataset=Sentences(20))
trainer.remove_callback(PrinterCallback)  # it prints seconds
trainer.train()
print(f"evaluation loss {trainer.evaluate()['eval_loss']:.4f}")
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
