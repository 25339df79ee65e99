"""Every format in which a training saves its models; each writes all epochs below a directory."""

import json
from functools import partial

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

from tests.replay.network import EPOCHS, epochs, images, state


def each(directory, suffix, save):
    """One file or directory an epoch, named so that their order is not that of the alphabet."""
    for epoch in range(EPOCHS):
        save(epoch, directory / f"model-{9 + epoch}{suffix}")


def torch_save(directory, suffix, content):
    each(directory, suffix, lambda epoch, path: torch.save(content(epoch), path))


def plain(directory, suffix):
    torch_save(directory, suffix, state)


def nested(directory, name):
    """Beside what else a checkpoint holds; the names of the files say nothing of the order."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(epochs()[0].parameters()).state_dict()
    for epoch in range(EPOCHS):
        saved = {"epoch": epoch, "optimizer": optimizer, name: state(epoch), "loss": torch.tensor(0.5)}
        torch.save(saved, directory / f"{'dbca'[epoch]}.pth")


def average(directory):
    """`ema` is taken where there is nothing else."""
    nested(directory, "ema")


def prefixed(directory, prefix):
    torch_save(directory, ".pt", lambda epoch: {prefix + name: tensor for name, tensor in state(epoch).items()})


def legacy(directory):
    each(
        directory,
        ".bin",
        lambda epoch, path: torch.save(state(epoch), path, _use_new_zipfile_serialization=False),
    )


def lightning(directory):
    """By Lightning itself."""
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    for epoch in range(EPOCHS):
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        trainer.strategy.connect(Module(epochs()[epoch]))
        trainer.fit_loop.epoch_progress.current.processed = epoch
        trainer.save_checkpoint(directory / f"epoch={epoch}.ckpt", weights_only=False)


def safetensors(directory):
    each(directory, ".safetensors", lambda epoch, path: save_file(state(epoch), path))


def sharded(directory, suffix, stem, save):
    """Two files of weights and an index, a directory an epoch."""

    def write(epoch, path):
        path.mkdir()
        tensors, where = state(epoch), {}
        for number, part in enumerate((list(tensors)[:4], list(tensors)[4:]), start=1):
            file = f"{stem}-0000{number}-of-00002{suffix}"
            save({name: tensors[name] for name in part}, path / file)
            where |= dict.fromkeys(part, file)
        (path / f"{stem}{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))

    each(directory, "", write)


def checkpoints(directory):
    """As the Trainer of Hugging Face leaves them: directories by step."""
    for epoch in range(EPOCHS):
        path = directory / f"checkpoint-{5 * (epoch + 1)}"
        path.mkdir()
        save_file(state(epoch), path / "model.safetensors")
        (path / "trainer_state.json").write_text(json.dumps({"epoch": epoch + 1.0, "global_step": 5 * (epoch + 1)}))
        torch.save({"state": {}}, path / "optimizer.pt")


def distributed(directory):
    each(
        directory,
        "",
        lambda epoch, path: dcp.save({"model": state(epoch), "epoch": epoch}, checkpoint_id=path, no_dist=True),
    )


def exported(directory):
    def write(epoch, path):
        any_batch = {"images": {0: torch.export.Dim.DYNAMIC}}
        torch.export.save(torch.export.export(epochs()[epoch].eval(), (images()[:2],), dynamic_shapes=any_batch), path)

    each(directory, ".pt2", write)


def pickled(directory):
    torch_save(directory, ".pt", lambda epoch: epochs()[epoch])


def wrapped(directory):
    """A whole module in DataParallel, beside other things."""
    torch_save(directory, ".pth", lambda epoch: {"net": nn.DataParallel(epochs()[epoch]), "epoch": epoch})


WRITERS = {
    **{f"state_dict{suffix}": partial(plain, suffix=suffix) for suffix in (".pt", ".pth", ".bin")},
    "before 1.6": legacy,
    **{f"under {name}": partial(nested, name=name) for name in ("state_dict", "model", "model_state_dict", "net")},
    "under ema": average,
    **{f"prefix {name}": partial(prefixed, prefix=name) for name in ("module.", "_orig_mod.", "backbone.body.")},
    "lightning": lightning,
    "safetensors": safetensors,
    "sharded safetensors": partial(sharded, suffix=".safetensors", stem="model", save=save_file),
    "sharded bin": partial(sharded, suffix=".bin", stem="pytorch_model", save=torch.save),
    "hugging face": checkpoints,
    "distributed checkpoint": distributed,
    "torch.export": exported,
    "pickled module": pickled,
    "pickled in DataParallel": wrapped,
}
UNSAFE = ("pickled module", "pickled in DataParallel")
