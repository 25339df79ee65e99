"""Data in every form, and what cannot be data."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from icshift.errors import ModelError
from icshift.inputs.batches import forward
from icshift.inputs.data import Reading, as_data, place, read_data

VALUES = np.random.default_rng(0).normal(size=(50, 6))


class One(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(x)


class Two(One):
    def forward(self, x, scale, *, offset=None):
        return super().forward(x * scale) + (0 if offset is None else offset)


def rows(data):
    """All rows of the first argument, in an order of their own."""
    tensors = [next(iter((*positional, *keyword.values()))) for positional, keyword in data.batches]
    whole = torch.cat(tensors).double().numpy()
    return whole[np.lexsort(whole.T)]


def assert_same_rows(data, values=VALUES, dtype=np.float32):
    expected = values.astype(dtype).astype(float)
    np.testing.assert_array_equal(rows(data), expected[np.lexsort(expected.T)])


WRITERS = {
    "x.npz": lambda path: np.savez(path, x=VALUES),
    "unnamed.npz": lambda path: np.savez(path, VALUES),
    "other.npz": lambda path: np.savez(path, features=VALUES),
    "with_target.npz": lambda path: np.savez(path, x=VALUES, y=np.arange(50)),
    "a.npy": lambda path: np.save(path, VALUES),
    "big_endian.npy": lambda path: np.save(path, VALUES.astype(">f8")),
    "fortran.NPY": lambda path: np.save(path.open("wb"), np.asfortranarray(VALUES)),
    "tensor.pt": lambda path: torch.save(torch.tensor(VALUES), path),
    "pair.pt": lambda path: torch.save((torch.tensor(VALUES), torch.arange(50)), path),
    "batches.pt": lambda path: torch.save(list(torch.tensor(VALUES).split(7)), path),
    "dict.pt": lambda path: torch.save({"x": torch.tensor(VALUES)}, path),
    "a.safetensors": lambda path: save_file({"x": torch.tensor(VALUES)}, path),
    "a.csv": lambda path: pd.DataFrame(VALUES, columns=list("abcdef")).to_csv(path, index=False),
    "no_header.csv": lambda path: np.savetxt(path, VALUES, delimiter=",", fmt="%.18e"),
    "a.parquet": lambda path: pd.DataFrame(VALUES, columns=list("abcdef")).to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files(name, tmp_path):
    WRITERS[name](tmp_path / name)
    data = read_data(str(tmp_path / name), One(), Reading())
    assert (data.examples, data.nonfinite) == (50, 0)
    assert_same_rows(data)
    for batch in data.batches:
        forward(One(), batch, "it")


MODULE = """
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset, IterableDataset

values = np.random.default_rng(0).normal(size=(50, 6))
tensor = torch.tensor(values)

class Streamed(IterableDataset):
    def __iter__(self):
        yield from tensor

def array(): return values
def pair(): return tensor, torch.arange(50)
def named(): return {"x": tensor, "label": torch.arange(50)}
def dataset(): return TensorDataset(tensor, torch.arange(50))
def stream(): return Streamed()
def loader(): return DataLoader(TensorDataset(tensor, torch.arange(50)), batch_size=8, shuffle=True)
def generator():
    for batch in tensor.split(9): yield {"x": batch, "label": batch}
def bare():
    yield from tensor.split(11)
class Sets:
    test = staticmethod(array)
def frame():
    import pandas as pd
    return pd.DataFrame(values)
"""
NAMES = ["values", "tensor", "array", "pair", "named", "dataset", "Streamed", "stream", "loader", "generator", "bare"]


@pytest.mark.parametrize("name", [*NAMES, "Sets.test", "frame"])
@pytest.mark.parametrize("spec", ["inputs_of_tests:{}", "{folder}/inputs_of_tests.py:{}"])
def test_code(name, spec, tmp_path, monkeypatch):
    (tmp_path / "inputs_of_tests.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "inputs_of_tests", raising=False)
    data = read_data(spec.format(name, folder=tmp_path), One(), Reading(batch_size=16))
    assert data.examples == 50
    assert_same_rows(data)


def test_several_arrays_are_arguments_by_name(tmp_path):
    scale = np.arange(50.0)[:, None]
    np.savez(tmp_path / "named.npz", scale=scale, offset=scale, x=VALUES)
    np.savez(tmp_path / "unnamed.npz", VALUES, scale, scale)
    torch.save((torch.tensor(VALUES), torch.tensor(scale)), tmp_path / "pair.pt")
    named, unnamed, pair = (
        read_data(str(tmp_path / n), Two(), Reading()) for n in ("named.npz", "unnamed.npz", "pair.pt")
    )
    assert [sorted(keyword) for _, keyword in named.batches] == [["offset", "scale", "x"]]
    assert [len(positional) for positional, _ in unnamed.batches] == [2]  # What a forward can do without is a target.
    for (positional, _), (_, keyword), (first, second) in zip(
        unnamed.batches, named.batches, [positional for positional, _ in pair.batches], strict=True
    ):
        assert torch.equal(positional[0], keyword["x"])
        assert torch.equal(positional[1], keyword["scale"])
        assert torch.equal(first, keyword["x"])
        assert torch.equal(second, keyword["scale"])
    # Rows stay together when they are shuffled.
    positional, _ = unnamed.batches[0]
    order = positional[1][:, 0].long()
    assert order.tolist() != list(range(50))
    assert torch.equal(positional[0], torch.tensor(VALUES).float()[order])


def test_a_model_that_takes_anything_by_name_gets_all():
    class Any(One):
        def forward(self, **batch):
            return super().forward(batch["features"])

    data = as_data({"features": torch.zeros(4, 6), "labels": torch.zeros(4)}, Any(), Reading())
    assert sorted(data.batches[0][1]) == ["features", "labels"]
    forward(Any(), data.batches[0], "it")


def test_numbers_are_of_the_models_type_unless_one_is_asked_for():
    given = {"x": torch.zeros(4, 6, dtype=torch.float64), "scale": torch.ones(4, 6, dtype=torch.int32)}
    for model, reading, expected in (
        (Two(), Reading(), torch.float32),
        (Two().double(), Reading(), torch.float64),
        (Two().bfloat16(), Reading(), torch.bfloat16),
        (Two(), Reading(dtype="float64"), torch.float64),
    ):
        place(model, reading)
        keyword = as_data(given, model, reading).batches[0][1]
        assert (keyword["x"].dtype, keyword["scale"].dtype) == (expected, torch.int32)
        assert model.fc.weight.dtype == expected
        forward(model, ((), keyword), "it")


def test_whole_numbers_stay_what_they_are():
    for dtype, expected in ((np.uint8, torch.uint8), (np.uint16, torch.int64), (np.int64, torch.int64)):
        assert as_data(np.zeros((4, 6), dtype), One(), Reading()).batches[0][0][0].dtype == expected


def test_batches_are_of_almost_equal_size():
    sizes = [
        len(positional[0]) for positional, _ in as_data(torch.zeros(101, 6), One(), Reading(batch_size=25)).batches
    ]
    assert sorted(sizes) == [20, 20, 20, 20, 21]


def test_examples_are_shuffled_always_in_the_same_way():
    values = torch.arange(300.0)[:, None].expand(-1, 6)
    first, second = (as_data(values, One(), Reading(batch_size=32)) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    means = [float(positional[0].mean()) for positional, _ in first.batches]
    assert max(means) - min(means) < 150
    assert first.fingerprint != as_data(values + 1, One(), Reading(batch_size=32)).fingerprint


def test_a_limit_is_drawn_from_everywhere_but_takes_the_first_batches():
    values = torch.arange(300.0)[:, None].expand(-1, 6)
    drawn = rows(as_data(values, One(), Reading(limit=40)))
    assert len(drawn) == 40
    assert drawn.max() > 200
    first = as_data(DataLoader(TensorDataset(values.clone()), batch_size=16), One(), Reading(limit=40))
    assert sorted(rows(first)[:, 0]) == list(range(40))
    assert [len(positional[0]) for positional, _ in first.batches] == [16, 16, 8]


def test_a_limit_ends_an_endless_stream():
    class Endless(IterableDataset):
        def __iter__(self):
            while True:
                yield torch.zeros(6)

    assert as_data(Endless(), One(), Reading(batch_size=8, limit=20)).examples == 20


def test_parts_are_many_and_of_almost_equal_size():
    data = as_data(torch.randn(1000, 6), One(), Reading(batch_size=256))
    parts = data.parts(16)
    assert {len(positional[0]) for positional, _ in parts} == {62, 63}
    assert len(parts) == 16
    assert torch.equal(torch.cat([p[0] for p, _ in parts]), torch.cat([p[0] for p, _ in data.batches]))
    assert len(as_data(torch.randn(1000, 6), One(), Reading(batch_size=40)).parts(16)) == 32
    assert len(as_data(torch.randn(5, 6), One(), Reading()).parts(16)) == 5
    in_batches = as_data([torch.randn(50, 6), torch.randn(50, 6), torch.randn(20, 6)], One(), Reading())
    assert len(in_batches.parts(16)) == 18
    assert len(in_batches.parts(2)) == 3


def test_what_cannot_be_cut_stays_whole():
    class Odd(One):
        def forward(self, x, names):
            assert len(names) == len(x)
            return super().forward(x)

    batches = [(torch.randn(8, 6), ["name"] * 8)] * 3
    data = as_data(batches, Odd(), Reading())
    assert (data.examples, len(data.parts(16))) == (24, 3)
    with pytest.raises(ModelError, match="cannot be cut"):
        as_data(batches, Odd(), Reading(limit=12))


def test_values_that_are_not_finite_are_counted_and_can_be_left_out():
    values = torch.tensor(VALUES)
    values[3, 1], values[7] = torch.nan, torch.inf
    data = as_data(values, One(), Reading(batch_size=9))
    assert (data.examples, data.nonfinite) == (50, 7)
    finite = data.finite()
    assert (finite.examples, finite.nonfinite) == (48, 0)
    assert_same_rows(finite, np.delete(VALUES, [3, 7], axis=0))
    assert sum(len(positional[0]) for positional, _ in finite.parts(16)) == 48
    in_batches = as_data(list(values.split(9)), One(), Reading()).finite()
    assert (in_batches.examples, in_batches.nonfinite) == (48, 0)
    assert not as_data(values * torch.nan, One(), Reading()).finite().batches


def test_a_model_that_begins_in_place_does_not_change_the_data():
    class InPlace(One):
        def forward(self, x):
            return super().forward(x.mul_(0))

    data = as_data(torch.tensor(VALUES), One(), Reading())
    forward(InPlace(), data.batches[0], "it")
    assert_same_rows(data)


def write(path, content):
    path.write_bytes(content)


BAD = {
    "missing.npz": (lambda _: None, "no such file"),
    "a.h5": (lambda path: write(path, b""), "is no data: expected a file"),
    "nothing": (lambda _: None, "is no data"),
    "empty.npz": (np.savez, "holds nothing, but forward of One takes x"),
    "no_rows.npy": (lambda path: np.save(path, VALUES[:0]), "holds no rows"),
    "no_rows.csv": (lambda path: write(path, b"a,b,c\n"), "holds no rows"),
    "empty.csv": (lambda path: write(path, b""), "cannot be read as .csv"),
    "text.csv": (lambda path: write(path, b"a,b\n1,x\n"), "column b holds"),
    "text.parquet": (lambda path: pd.DataFrame({"a": ["x"]}).to_parquet(path), "column a holds"),
    "objects.npy": (lambda path: np.save(path, np.array([{}, 1])), "would run code"),
    "text.npy": (lambda path: np.save(path, np.array(["a", "b"])), "expected numbers"),
    "damaged.npz": (lambda path: write(path, b"PK\x03\x04nonsense"), "cannot be read as .npz"),
    "damaged.parquet": (lambda path: write(path, b"PAR1"), "cannot be read as .parquet"),
    "damaged.pt": (lambda path: write(path, b"nonsense"), "is no saved model"),
    "damaged.safetensors": (lambda path: write(path, b"nonsense"), "damaged.safetensors: declares a header"),
    "code.pt": (lambda path: torch.save(One(), path), "holds more than tensors"),
    "names.npz": (lambda path: np.savez(path, a=VALUES, b=VALUES), "holds a, b, but forward of One takes x"),
    "lengths.npz": (lambda path: np.savez(path, VALUES, VALUES[:3]), r"of the lengths \[3, 50\]"),
    "number.npy": (lambda path: np.save(path, np.array(3.0)), r"of the lengths \[\]"),
    "state.pt": (lambda path: torch.save(One().state_dict(), path), "holds fc.weight, fc.bias"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path, monkeypatch):
    make, expected = BAD[name]
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    model = Two() if name == "lengths.npz" else One()
    with pytest.raises(ModelError, match=expected):
        read_data(name, model, Reading())


BAD_CODE = {
    "no_such_module_here:x": "cannot be imported: ModuleNotFoundError",
    "math:taux": "did you mean tau",
    "math:pi": "gave float: expected tensors",
    "math:sqrt": r"math:sqrt\(\) failed: TypeError",
    "missing.py:x": "no such file: missing.py",
    "leaves.py:x": "cannot be imported: SystemExit",
    "raises.py:x": "cannot be imported: ZeroDivisionError",
    "batches.py:broken": "cannot be made into batches: RuntimeError: no more",
    "batches.py:none": "holds no rows",
    "batches.py:words": "expected tensors",
    ":x": "is no spec",
}


@pytest.mark.parametrize("spec", BAD_CODE)
def test_bad_code(spec, tmp_path, monkeypatch):
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(0)")
    (tmp_path / "raises.py").write_text("1 / 0")
    code = "import torch\ndef broken():\n    yield torch.ones(2, 6)\n    raise RuntimeError('no more')\n"
    (tmp_path / "batches.py").write_text(f"{code}def none(): return []\ndef words(): return 'words'\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=BAD_CODE[spec]):
        read_data(spec, One(), Reading())


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading(device="nowhere"), "device 'nowhere' cannot be used"),
        (Reading(device="cuda:17"), "device 'cuda:17' cannot be used"),
        (Reading(dtype="float33"), "no floating-point type"),
        (Reading(dtype="int64"), "no floating-point type"),
        (Reading(dtype="nn"), "no floating-point type"),
    ],
)
def test_bad_places(reading, expected):
    with pytest.raises(ModelError, match=expected):
        as_data(torch.tensor(VALUES), One(), reading)
    with pytest.raises(ModelError, match=expected):
        place(One(), reading)


def test_data_that_the_model_refuses_are_told_with_their_shapes():
    with pytest.raises(ModelError, match=r"One does not take the data of it, batches of \[50, 5\] float32: Runtime"):
        forward(One(), as_data(VALUES[:, :5], One(), Reading()).batches[0], "it")
    whole_numbers = as_data(np.ones((4, 6), int), One(), Reading())
    with pytest.raises(ModelError, match=r"\[4, 6\] int64.*save them as floats"):
        forward(One(), whole_numbers.batches[0], "it")
