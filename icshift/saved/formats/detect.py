"""Which format a file or directory is in, by what is in it: a suffix is no more than a hint.

Formats of files are `torch` and `legacy` (torch.save since and before PyTorch 1.6), `pickle`, `torchscript`, `exported`
(torch.export), `safetensors` and `sharded` (an index of several files); of directories `distributed`
(torch.distributed.checkpoint), `huggingface` and `adapter` (PEFT).
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from icshift import regular
from icshift.errors import ModelError
from icshift.saved.formats.archive import opened

WEIGHTS = tuple(
    stem + suffix
    for stem, suffixes in (
        ("model", (".safetensors", ".safetensors.index.json")),
        ("diffusion_pytorch_model", (".safetensors", ".safetensors.index.json")),
        ("pytorch_model", (".bin", ".bin.index.json")),
        ("diffusion_pytorch_model", (".bin", ".bin.index.json")),
    )
    for suffix in suffixes
)
"""Names of the weights in a Hugging Face directory; the first that is there is read."""

_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that every file of `torch.save` began with before it became a zip archive (PyTorch 1.6)."""

_FOREIGN = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    b"\x89HDF": "is an HDF5 file (Keras or TensorFlow); icshift reads models of PyTorch: torch.save their state_dict()",
    b"GGUF": "is a GGUF file (llama.cpp); icshift reads models of PyTorch",
    b"\x93NUMPY": "is a NumPy array, not a saved model",
    b"\x1f\x8b": "is compressed with gzip; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard; unpack it first",
    b"\xfd7zXZ": "is compressed with xz; unpack it first",
    b"<": "is a page of HTML or XML, perhaps a failed download; fetch it anew",
}
"""What a file is that is no saved model of PyTorch, by the bytes that it begins with."""

EXPECTED = (
    "expected a file of torch.save, a Lightning .ckpt, safetensors, torch.export's .pt2, or a directory of Hugging Face"
    " or torch.distributed.checkpoint"
)
"""The end of messages about files that are none of these."""


def of_directory(path: Path) -> str | None:
    """The format of a directory that is one saved model: `distributed`, `huggingface` or `adapter`; None otherwise."""
    if (path / ".metadata").is_file():
        return "distributed"
    if any((path / name).is_file() for name in WEIGHTS):
        return "huggingface"
    return "adapter" if (path / "adapter_config.json").is_file() else None


def of_file(path: Path) -> str:
    """The format of a file, from its first bytes and, of an archive, the names of its records.

    Raises `ModelError` for what is no saved model, and says what it is where that is known.
    """
    with regular.opened(path) as file:
        start = file.read(512)
        if not start:
            raise ModelError(f"is empty; {EXPECTED}")
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
            return "safetensors"  # First: the length that it begins with may look like another format's sign.
        if start.startswith(b"PK"):
            return _of_archive(path)
        if start.startswith(b"\x80"):
            _refuse_tar(path)  # Where it is both, torch.load would take it for a tar archive.
            return "legacy" if _LEGACY in start[:32] else "pickle"
        return _of_text(path, start)


def _of_archive(path: Path) -> str:
    with opened(path) as archive:
        names = archive.sizes
        if "constants.pkl" in names or "bytecode.pkl" in names or any(name.startswith("code/") for name in names):
            return "torchscript"
        if {"archive_format", "serialized_exported_program.json"} & names.keys():
            return "exported"
        if "data.pkl" in names:
            return "torch"
        if {"config.json", "model.weights.h5"} <= names.keys():
            raise ModelError("is a file of Keras; icshift reads models of PyTorch: torch.save their state_dict()")
        kind = "a NumPy archive" if any(name.endswith(".npy") for name in names) else "a zip archive"
        raise ModelError(f"is {kind} without data.pkl, no saved model; {EXPECTED}")


def _refuse_tar(path: Path) -> None:
    try:
        tarfile.open(path, mode="r:").close()
    except (tarfile.TarError, ValueError):
        return
    raise ModelError("is a tar archive, as PyTorch 0.1 saved them; load it there and torch.save it anew")


def _of_text(path: Path, start: bytes) -> str:
    if start.lstrip().startswith(b"{") and path.name.endswith(".json"):
        return "sharded"
    for sign, verdict in _FOREIGN.items():
        if start.startswith(sign):
            raise ModelError(verdict)
    _refuse_tar(path)
    raise ModelError(f"is no saved model (it begins with {start[:8]!r}); {EXPECTED}")
