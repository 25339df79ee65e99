"""Weights out of files that PyTorch reads only with code run: the same as PyTorch reads them, and nothing runs."""

import os
import pickle
from argparse import Namespace

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.choose import Unread
from icshift.saved.find import find
from icshift.saved.formats import outlined as at_most
from icshift.saved.formats.outlined import outlined
from icshift.saved.load import load
from tests.saved import arsenal, zoo


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], value) and ours[name].dtype == value.dtype for name, value in theirs.items()
    )


def tensors():
    """Tensors of every kind that a file holds plainly."""
    whole = torch.arange(12.0).view(3, 4)
    return {
        **{str(kind): torch.ones(3).to(kind) for kind in (torch.float64, torch.bfloat16, torch.int8, torch.bool)},
        "complex": torch.complex(torch.ones(2), torch.zeros(2)),
        "unsigned": torch.tensor([1, 2], dtype=torch.uint16),
        "view": whole[1:, ::2],
        "turned": whole.t(),
        "the whole": whole,
        "empty": torch.empty(0, 3),
        "number": torch.tensor(5),
        "parameter": nn.Parameter(torch.ones(2)),
    }


def test_tensors_are_what_pytorch_reads(tmp_path):
    beside = {"net": nn.Linear(2, 2), "weapon": zoo.Armed(os.mkdir, str(tmp_path / "ran"))}
    path = saved(tmp_path / "a.pt", {"state_dict": tensors(), "hyper_parameters": beside})
    assert equal(load(*find([path])).state, tensors())
    assert not (tmp_path / "ran").exists()


def test_a_file_that_needs_no_code_is_not_for_it(tmp_path):
    assert outlined(saved(tmp_path / "a.pt", {"a": torch.ones(2), "options": Namespace(x=1)})) is None


def test_other_protocols_are_read_too(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": tensors()}, pickle_protocol=4)
    assert equal(load(*find([path])).state, tensors())


def test_the_weights_of_a_whole_module(tmp_path):
    model = zoo.trained()[0]
    model.register_buffer("passing", torch.ones(1), persistent=False)
    path = saved(tmp_path / "a.pt", {"net": model, "epoch": 2})
    del model.passing
    loaded = load(*find([path]))
    assert equal(loaded.state, model.state_dict())
    assert (loaded.key, loaded.whole, loaded.module, loaded.epoch) == ("net", "tests.saved.zoo.Digits", None, 2)


def test_the_class_is_told_of_the_part_that_is_taken(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": zoo.state(), "hyper_parameters": {"net": zoo.Digits()}})
    assert load(*find([path])).whole == ""


def test_what_only_code_makes_is_not_passed_over_for_something_worse(tmp_path):
    weapon = zoo.Armed(os.mkdir, str(tmp_path / "ran"))
    path = saved(tmp_path / "a.pt", {"model": weapon, "ema": zoo.state()})
    with pytest.raises(ModelError, match=r"runs code: it needs posix\.mkdir"):
        load(*find([path]))
    path = saved(tmp_path / "b.pt", {"ema": weapon, "model": zoo.state()})
    assert equal(load(*find([path])).state, zoo.state())
    assert not (tmp_path / "ran").exists()


def test_versions_of_modules_are_kept(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": nn.BatchNorm1d(2).state_dict(), "hyper_parameters": nn.ReLU()})
    assert load(*find([path])).versions == {"": {"version": 2}}


def test_a_conjugate_is_left_to_pytorch(tmp_path):
    content = {"state_dict": {"a": torch.ones(2, dtype=torch.complex64).conj()}, "x": nn.ReLU()}
    outline = outlined(saved(tmp_path / "a.pt", content))
    assert isinstance(outline.content["state_dict"]["a"], Unread) or outline.content["state_dict"]["a"] is None


def armed(path, instructions):
    """An archive of torch.save with these instructions for `a`, and an object that only code would make beside it."""
    return arsenal.torch_zip(
        path, b"}(X\1\0\0\0a" + arsenal.named(instructions, b"w") + b"X\1\0\0\0bccollections\ndeque\n)Ru"
    )


TOO_LARGE = {
    "size": arsenal.tensor(b"K\x00", b"K\x03\x85", b"K\x01\x85"),
    "offset": arsenal.tensor(b"K\x01", b"K\x02\x85", b"K\x01\x85"),
    "stride": arsenal.tensor(b"K\x00", b"K\x02\x85", b"K\x02\x85"),
    "terabytes": arsenal.tensor(b"K\x00", arsenal.number(1 << 40) + b"\x85", b"K\x01\x85"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_tensor_that_is_larger_than_its_storage_is_refused(tmp_path, name):
    assert load(*find([armed(tmp_path / "a.pt", arsenal.tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85"))])).state
    with pytest.raises(ModelError, match="larger than its storage"):
        load(*find([armed(tmp_path / "b.pt", TOO_LARGE[name])]))


def test_a_storage_that_is_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": {"weight": torch.ones(4)}, "x": nn.ReLU()})
    zoo.rezipped(path, tmp_path / "b.pt", data__0=b"short")
    with pytest.raises(ModelError, match="declares 16 bytes of tensor '0' where 5 are"):
        load(*find([tmp_path / "b.pt"]))


def test_another_order_of_bytes_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": {"weight": torch.ones(4)}, "x": nn.ReLU()})
    zoo.rezipped(path, tmp_path / "b.pt", byteorder=b"big")
    with pytest.raises(ModelError, match="another order of bytes"):
        load(*find([tmp_path / "b.pt"]))


def test_modules_that_unfold_without_bound_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(at_most, "_MOST_TENSORS", 10_000)  # A hundredth, and so reached in a hundredth of the time.
    module = nn.Sequential(nn.Linear(1, 1))
    for _ in range(40):
        module = nn.Sequential(module, module)
    path = saved(tmp_path / "a.pt", module)
    assert len(pickle.dumps(module)) < 100_000
    with pytest.raises(ModelError, match="unfold without bound"):
        load(*find([path]))
