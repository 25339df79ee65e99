"""A small network trained on digits, and every way in which models are saved."""

import json
import pickle
import zipfile
from functools import cache
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn


class Digits(nn.Module):
    """Convolution, batch norm and two linear layers: parameters, buffers and a counter."""

    def __init__(self, hidden=16):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(4 * 6 * 6, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images):
        return self.fc2(torch.relu(self.fc1(torch.relu(self.norm(self.conv(images))).flatten(1))))


@cache
def digits():
    images, classes = load_digits(return_X_y=True)
    return torch.tensor(images[:400], dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(classes[:400])


def train(model, steps=10):
    """Some steps of Adam; the optimizer comes back too."""
    images, classes = digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        outputs = model(images)
        nn.functional.cross_entropy(getattr(outputs, "logits", outputs), classes).backward()
        optimizer.step()
    return model, optimizer


@cache
def trained():
    torch.manual_seed(0)
    return train(Digits())


def vit():
    """The smallest Hugging Face model that takes digits."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **sizes))


def state():
    return trained()[0].state_dict()


def checkpoint(epoch=3, step=30):
    """What a training loop saves."""
    model, optimizer = trained()
    return {
        "epoch": epoch,
        "global_step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loss": 0.25,
    }


def lightning_checkpoint():
    """The layout of a Lightning `.ckpt`."""
    model, optimizer = trained()
    return {
        "epoch": 3,
        "global_step": 30,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "dirpath": "runs"}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"hidden": 16},
    }


def save_sharded(directory, save, suffix, stem):
    """Two files of weights and an index, as Hugging Face writes them."""
    directory.mkdir()
    state = trained()[0].state_dict()
    names = list(state)
    where = {}
    for number, part in enumerate((names[:5], names[5:]), start=1):
        file = f"{stem}-0000{number}-of-00002{suffix}"
        save({name: state[name] for name in part}, directory / file)
        where |= dict.fromkeys(part, file)
    index = directory / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return directory


OLD_STATE = "serialized_state_dict.pt"
"""Where torch before 2.8 puts the weights of an exported program."""


def save_exported(path):
    model = trained()[0].eval()
    torch.export.save(torch.export.export(model, (digits()[0][:2],)), path)
    model.train()
    return path


def save_package(path):
    """The same in the layout that torch has written since 2.8, also where the one before is installed.

    The program itself is missing there: it takes no part in what is read without running it.
    """
    save_exported(path)
    with zipfile.ZipFile(path) as archive:
        if OLD_STATE not in archive.namelist():
            return path
    config = {}
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, tensor) in enumerate(trained()[0].state_dict().items()):
            sizes, strides = ([{"as_int": one} for one in of] for of in (tensor.shape, tensor.stride()))
            meta = {"dtype": {torch.float32: 7, torch.int64: 5}[tensor.dtype], "sizes": sizes, "strides": strides}
            meta |= {"storage_offset": {"as_int": 0}}
            config[name] = {"path_name": f"weight_{number}", "use_pickle": False, "tensor_meta": meta}
            archive.writestr(f"program/data/weights/weight_{number}", tensor.numpy().tobytes())
        archive.writestr("program/archive_format", "pt2")
        table = json.dumps({"config": config})
        archive.writestr("program/data/weights/model_weights_config.json", table)
    return path


def save_distributed(path):
    model, optimizer = trained()
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "step": 30}
    dcp.save(saved, checkpoint_id=path, no_dist=True)
    return path


def save_vit(path):
    train(vit(), 2)[0].save_pretrained(path)
    return path


def saved_by(save):
    """A writer from what is saved in a file of torch.save, lazily made."""

    def write(path, **options):
        torch.save(save(), path, **options)
        return path

    return write


def old_style(path):
    return saved_by(checkpoint)(path, _use_new_zipfile_serialization=False)


FORMATS = {
    "torch": ("plain.pt", saved_by(state)),
    "nested": ("nested.pth", saved_by(checkpoint)),
    "legacy": ("legacy.bin", old_style),
    "lightning": ("epoch=3-step=30.ckpt", saved_by(lightning_checkpoint)),
    "safetensors": ("model.safetensors", lambda path: save_file(trained()[0].state_dict(), path) or path),
    "sharded": ("shards", lambda path: save_sharded(path, save_file, ".safetensors", "model")),
    "sharded_bin": ("bins", lambda path: save_sharded(path, torch.save, ".bin", "pytorch_model")),
    "distributed": ("dcp", save_distributed),
    "exported": ("program.pt2", save_exported),
}
"""Formats that carry the weights of `Digits`: the name of the file or directory, and what writes it."""


def write(directory, name):
    """One format in a directory; the path of what was written."""
    file, save = FORMATS[name]
    return save(Path(directory) / file)


def rezipped(source, target, *, compression=zipfile.ZIP_STORED, **replaced):
    """A zip archive with records replaced, named by the end of their path with "/" as "__"."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            content = old.read(info)
            for ending, other in replaced.items():
                if info.filename.endswith("/" + ending.replace("__", "/").replace("_DOT_", ".")):
                    content = other
            new.writestr(info.filename, content)
    return target


class Armed:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        raise AssertionError("Pickle wants what it calls to be callable; it never is called before it is pickled.")


def armed_pickle(function, *arguments, protocol=2):
    return pickle.dumps(Armed(function, *arguments), protocol)
