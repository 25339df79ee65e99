"""Units that are constant in both data sets: `icshift shift` and `icshift drift` say the same of them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch


class Passed(torch.nn.Module):
    """Shows what it is given."""

    def __init__(self):
        super().__init__()
        self.site = torch.nn.Linear(4, 4, bias=False)

    def forward(self, rows):
        return self.site(rows)


@pytest.fixture
def told(tmp_path, command):
    """What both commands say of the units of two arrays: which moved, None where that is not known."""
    model = Passed()
    model.site.weight.data = torch.eye(4)
    torch.save(model.state_dict(), tmp_path / "net.pt")

    def ask(a, b):
        np.save(tmp_path / "a.npy", a)
        np.save(tmp_path / "b.npy", b)
        data = "--reference", tmp_path / "a.npy", "--data", tmp_path / "b.npy", "--samples", "all"
        double = ("--dtype", "float64") if a.dtype == np.float64 else ()
        code, out, err = command(
            "shift", tmp_path / "net.pt", "--model", f"{__name__}:Passed", *data, *double, "--json"
        )
        assert code == 0, err
        sites = {site["site"]: site for site in json.loads(out)["sites"]}
        code, out, err = command("drift", tmp_path / "a.npy", tmp_path / "b.npy", "--json")
        assert code == 0, err
        return sites, [unit["moved"] for unit in sorted(json.loads(out)["units"], key=lambda unit: unit["unit"])]

    return ask


def constants(base, by, dtype):
    return np.full((600, 4), base, dtype), np.full((500, 4), base + by, dtype)


@pytest.mark.parametrize(
    ("base", "by", "dtype"),
    [
        (1e8, 800, np.float32),
        (1.0, 1e-3, np.float32),
        (1e8, 8, np.float64),
        (1.0, 1e-6, np.float64),
        (1, 1, np.float32),
    ],
)
def test_what_numbers_resolve_moved_by_both(base, by, dtype, told):
    sites, moved = told(*constants(base, by, dtype))
    assert moved == [True] * 4
    for site in sites.values():
        assert (site["shifted"], site["moved"], site["moved_untold"]) == (True, 1.0, 0)
        assert "constant in both, at other values" in site["verdict"]


@pytest.mark.parametrize(
    ("base", "by", "dtype"), [(1e8, 8, np.float32), (1e8, 80, np.float32), (1.0, 4e-14, np.float64)]
)
def test_what_may_be_rounding_is_unknown_by_both(base, by, dtype, told, command, tmp_path):
    sites, moved = told(*constants(base, by, dtype))
    assert moved == [None] * 4
    for site in sites.values():
        assert (site["shifted"], site["moved"]) == (None, None)
        assert site["verdict"] == "not known, constants that differ by rounding: 100 % of units"
    words = " ".join(command("drift", tmp_path / "a.npy", tmp_path / "b.npy")[1].split())
    assert "Whether any unit moved cannot be told: its units vary too little beside their mean" in words


@pytest.mark.parametrize(("by", "expected"), [(8, "4 of 4 units are constants that differ by rounding"), (800, "")])
def test_what_is_not_known_does_not_pass_a_check(by, expected, told, command, tmp_path):
    told(*constants(1e8, by, np.float32))
    where = tmp_path / "net.pt", "--model", f"{__name__}:Passed", "--samples", "all"
    data = "--reference", tmp_path / "a.npy", "--data", tmp_path / "b.npy"
    code, out, _ = command("shift", *where, *data, "--fail-on", "moved > 0", "-o", tmp_path / "u.csv")
    assert code == 1
    assert expected in " ".join(out.split())
    units = pd.read_csv(tmp_path / "u.csv")
    assert units["moved"].isna().all() == bool(expected)
    assert units["floor"].isna().all() == bool(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_constant_did_not_move_by_both(dtype, told):
    sites, moved = told(*constants(0.1, 0, dtype))
    assert moved == [False] * 4
    assert all((site["shifted"], site["moved"]) == (False, 0.0) for site in sites.values())


def test_some_units_that_may_differ_by_rounding_leave_what_is_known_of_the_others(told):
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(n, 4)).astype(np.float32) for n in (600, 500))
    a[:, 1], b[:, 1], a[:, 2], b[:, 2] = 1e8, 1e8 + 8, 1e8, 1e8 + 800
    a[:, 3], b[:, 3] = a[:, 3] + 1e5, b[:, 3] + 1e5
    sites, moved = told(a, b)
    assert moved == [False, None, True, False]
    for site in sites.values():
        assert (site["moved"], site["moved_untold"]) == (0.25, 1)
        assert "not known, constants that differ by rounding: 25 % of units" in site["verdict"]
