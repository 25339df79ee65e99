"""Train models that many people use for three steps each, recorded and not, and write docs/models.md.

    python -m benchmarks.models

Needs torchvision and transformers, torchvision in the release that belongs to the torch that is installed. No weights
are downloaded: they are random, and those of Hugging Face are of small configurations.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icshift import Recorder
from icshift.model.names import ROOT
from icshift.runs.reader import StoredRun

TABLE = Path(__file__).parent.parent / "docs" / "models.md"
STEPS = 3
SIDE = 64  # pixels of an image
CONFIGURED: dict[str, Any] = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

Made = tuple[nn.Module, Callable[[nn.Module], Tensor]]
"""A model, and what computes a loss of it from a random batch."""


@dataclass(frozen=True)
class Row:
    """What became of a model: its sites, how many modules were watched, and what was left out, with reasons."""

    sites: list[str]
    modules: int
    watched: int
    called: int
    left_out: dict[str, list[str]]
    """Modules with parameters of their own that are no site, by why."""
    covered: float
    """Share of the parameters that belong to modules which gave a site."""
    same: bool
    """Whether losses, parameters, buffers and random states are those of the training without a recorder."""


def huggingface() -> dict[str, Callable[[], Made]]:
    """Models of `transformers`, each trained on the loss that it computes itself."""
    import transformers as hf

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    text = CONFIGURED | small
    grouped = text | {"num_key_value_heads": 2}
    whisper = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
    whisper |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 16}
    whisper |= {"max_source_positions": 32, "max_target_positions": 32, "decoder_start_token_id": 1}
    t5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    return {
        "BertForMaskedLM": lambda: _texts(hf.BertForMaskedLM(hf.BertConfig(**text))),
        "GPT2LMHeadModel": lambda: _texts(
            hf.GPT2LMHeadModel(hf.GPT2Config(**CONFIGURED, n_embd=32, n_layer=2, n_head=4, n_positions=32))
        ),
        "LlamaForCausalLM": lambda: _texts(hf.LlamaForCausalLM(hf.LlamaConfig(**grouped))),
        "MixtralForCausalLM": lambda: _texts(hf.MixtralForCausalLM(hf.MixtralConfig(**grouped, num_local_experts=4))),
        "T5ForConditionalGeneration": lambda: _texts(hf.T5ForConditionalGeneration(hf.T5Config(**CONFIGURED | t5))),
        "ViTForImageClassification": lambda: _pictures_with_loss(
            hf.ViTForImageClassification(hf.ViTConfig(**small, image_size=SIDE, patch_size=16, num_labels=5))
        ),
        "WhisperForConditionalGeneration": lambda: _sounds(
            hf.WhisperForConditionalGeneration(hf.WhisperConfig(**CONFIGURED | whisper))
        ),
    }


def torchvision() -> dict[str, Callable[[], Made]]:
    """Models of torchvision, classifiers of small images, and a detector."""
    from torchvision import models

    detectors = models.detection
    return {
        "resnet18": lambda: _pictures(models.resnet18(num_classes=5)),
        "mobilenet_v3_small": lambda: _pictures(models.mobilenet_v3_small(num_classes=5)),
        "efficientnet_b0": lambda: _pictures(models.efficientnet_b0(num_classes=5)),
        "vit_b_16": lambda: _pictures(models.vit_b_16(num_classes=5, image_size=SIDE)),
        "swin_t": lambda: _pictures(models.swin_t(num_classes=5)),
        "convnext_tiny": lambda: _pictures(models.convnext_tiny(num_classes=5)),
        "ssdlite320_mobilenet_v3_large": lambda: _boxes(
            detectors.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
        ),
        "fasterrcnn_mobilenet_v3_large_320_fpn": lambda: _boxes(
            detectors.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=5)
        ),
    }


def _texts(model: nn.Module) -> Made:
    def loss(called: nn.Module) -> Tensor:
        tokens = torch.randint(3, 64, (4, 12))
        return called(input_ids=tokens, labels=tokens).loss

    return model, loss


def _sounds(model: nn.Module) -> Made:
    def loss(called: nn.Module) -> Tensor:
        return called(input_features=torch.randn(4, 16, 64), labels=torch.randint(3, 64, (4, 12))).loss

    return model, loss


def _pictures_with_loss(model: nn.Module) -> Made:
    def loss(called: nn.Module) -> Tensor:
        return called(pixel_values=torch.randn(4, 3, SIDE, SIDE), labels=torch.randint(5, (4,))).loss

    return model, loss


def _pictures(model: nn.Module) -> Made:
    def loss(called: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(called(torch.randn(4, 3, SIDE, SIDE)), torch.randint(5, (4,)))

    return model, loss


def _boxes(model: nn.Module) -> Made:
    def loss(called: nn.Module) -> Tensor:
        corners = torch.rand(2, 3, 2) * SIDE / 2
        boxes = torch.cat([corners, corners + 5 + torch.rand(2, 3, 2) * SIDE / 3], 2)
        targets = [{"boxes": of_image, "labels": torch.randint(1, 5, (3,))} for of_image in boxes]
        return torch.stack(list(called(list(torch.rand(2, 3, SIDE, SIDE)), targets).values())).sum()

    return model, loss


def trained(make: Callable[[], Made]) -> Iterator[Any]:
    """Yields a model, and after its training all that a recorder must not change."""
    torch.manual_seed(0)
    model, loss = make()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    yield model
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses.append(loss(model))
        losses[-1].backward()
        optimizer.step()
    yield [*losses, *model.state_dict().values(), torch.get_rng_state()]


def measured(make: Callable[[], Made], path: Path) -> Row:
    """Train a model twice, once recorded with default settings, and see what was."""
    plain = trained(make)
    next(plain)
    expected = next(plain)
    training = trained(make)
    model = next(training)
    with Recorder(model, path) as recorder:
        found = next(training)
        recorder.epoch()
    same = all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    return row(model, StoredRun(path), same)


def row(model: nn.Module, run: StoredRun, same: bool) -> Row:
    """What a recording of a model shows of it."""
    states = {entry["module"]: entry for entry in run.manifest["ledger"]}
    observed = {name for name, entry in states.items() if entry["state"] == "observed"}
    sizes: dict[str, int] = {}
    owner: dict[int, str] = {}
    for own_name, module in model.named_modules():
        name = own_name or ROOT
        inside = _within(name, observed)  # the weights of a site's parts are the site's: attention's projection
        for parameter in module.parameters(recurse=False):
            owner.setdefault(id(parameter), inside or name)
            if inside:
                owner[id(parameter)] = inside
            sizes[str(id(parameter))] = parameter.numel()
    left_out: dict[str, list[str]] = {}
    for key in dict.fromkeys(owner.values()):
        if key not in observed:
            entry = states.get(key, {"state": "not listed", "reason": ""})
            left_out.setdefault(f"{entry['state']}: {entry['reason']}", []).append(key)
    covered = sum(sizes[str(number)] for number, name in owner.items() if name in observed)
    # What is fused into a recorded module is seen in that one's output.
    fused = {
        name for name in states.keys() - observed if states[name]["state"] == "bypassed" and _within(name, observed)
    }
    watched = [name for name, entry in states.items() if entry["state"] != "excluded" and name not in fused]
    return Row(
        sites=[site.name for site in run.sites],
        modules=sum(1 for _ in model.modules()),
        watched=len(watched),
        called=len(observed),
        left_out=left_out,
        covered=covered / sum(sizes.values()),
        same=same,
    )


def _within(name: str, observed: set[str]) -> str:
    """The innermost observed module that is, or holds, this one; empty where there is none."""
    parts = name.split(".")
    return next((n for end in range(len(parts), 0, -1) if (n := ".".join(parts[:end])) in observed), "")


def described(rows: dict[str, Row]) -> Iterator[str]:
    """Yields the lines of a table, and under it what was left out."""
    yield "| model | modules | watched | of these recorded | sites | parameters in them | training unchanged |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    for name, of in rows.items():
        yield (
            f"| {name} | {of.modules} | {of.watched} | {of.called} | {len(of.sites)} | {of.covered:.1%} | "
            f"{'bit for bit' if of.same else '**no**'} |"
        )
    yield ""
    if not any(of.left_out for of in rows.values()):
        yield "Every parameter belongs to a site."
        return
    yield "Parameters that belong to no site, and what the run says of their modules:"
    yield ""
    for name, of in rows.items():
        for reason, modules in of.left_out.items():
            kinds = Counter(_numbered(module) for module in modules)
            listed = ", ".join(f"`{kind}`" + (f" ({n})" if n > 1 else "") for kind, n in kinds.items())
            yield f"* {name}: {listed}. {reason}"


def _numbered(module: str) -> str:
    """A module's name with the numbers of layers as a star."""
    return ".".join("*" if part.isdigit() else part for part in module.split("."))


def page(tables: dict[str, dict[str, Row]]) -> str:
    """The text of docs/models.md."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", *tables)}
    lines = [
        "# Models that were tried",
        "",
        f"Each was trained for {STEPS} steps on random inputs, with a default recorder and without. Watched",
        "are the modules that a recorder chooses, recorded those whose outputs it saw (what is fused into one of them,",
        "as a projection into an attention, counts as that one); one called several times in a forward, or returning",
        "several tensors, has several sites. Written by `python -m benchmarks.models` with",
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
    ]
    for package, rows in tables.items():
        lines += ["", f"## {package}", "", *described(rows)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every model and write the page."""
    torch.set_num_threads(1)
    tables: dict[str, dict[str, Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package, models in (("torchvision", torchvision()), ("transformers", huggingface())):
            tables[package] = {}
            for name, make in models.items():
                tables[package][name] = found = measured(make, Path(folder) / name)
                sys.stderr.write(f"{name}: {found.called} of {found.watched}, {found.covered:.1%}, same {found.same}\n")
                sys.stderr.write(" ".join(found.sites) + "\n")
    TABLE.write_text(page(tables))


if __name__ == "__main__":
    main()
