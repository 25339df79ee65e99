"""What `icshift drift` prints of two dumps of activations."""

import json

import numpy as np
import pandas as pd
import pytest

import icshift


@pytest.fixture
def dumps(tmp_path):
    random = np.random.default_rng(5)
    before, after = random.normal(size=(2, 800, 30)).astype(np.float32)
    after[:, 7] += 2
    np.save(tmp_path / "a.npy", before)
    np.save(tmp_path / "b.npy", after)
    return tmp_path / "a.npy", tmp_path / "b.npy"


def test_the_verdict_comes_first_and_all_fits_80_columns(dumps, command):
    code, out, err = command("drift", *dumps, "-q")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines()[1:])) <= 80
    words = " ".join(out.split())
    assert "800 against 800 rows · 30 units" in words
    assert "Moved beyond noise: 1 of 30 units; furthest unit 7," in words
    assert words.index("Moved") < words.index("floor ×floor")
    assert "20 of 30 units are shown, those that drifted furthest: --top 30 shows all." in words
    assert "shuffled, they count as independent" in words


def test_json_is_the_api(dumps, command):
    found = json.loads(command("drift", *dumps, "--json", "--top", "1", "--metric", "w1")[1])
    expected = icshift.drift(*dumps, metric="w1").units.loc[7]
    assert found["units"][0]["unit"] == 7
    assert found["units"][0]["value"] == pytest.approx(expected["value"])
    assert found["units"][0]["moved"] is True
    assert found["arrays"] == [{"array": "", "reference_rows": 800, "rows": 800, "moved_unknown": None}]


def test_files_hold_a_row_a_unit(dumps, command, tmp_path):
    code, out, err = command("drift", *dumps, "-o", tmp_path / "u.csv")
    assert (code, "30 rows" in err, "Moved" in out) == (0, True, True)
    assert pd.read_csv(tmp_path / "u.csv")["value"].tolist() == pytest.approx(
        icshift.drift(*dumps).units["value"].tolist()
    )
    assert command("drift", *dumps, "-o", "-")[1] == (tmp_path / "u.csv").read_text()
    assert command("drift", *dumps, "-o", tmp_path / "u.csv")[0] == 2


def test_nothing_moved_and_too_few_rows(dumps, command, tmp_path):
    same = " ".join(command("drift", dumps[0], dumps[0])[1].split())
    assert "No evidence that any of 30 units moved beyond noise: median 0 sd, floor 0." in same
    np.save(tmp_path / "few.npy", np.load(dumps[0])[:5])
    few = " ".join(command("drift", tmp_path / "few.npy", dumps[1])[1].split())
    assert "Whether any unit moved cannot be told: an array of 5 rows: it takes 6." in few


def test_what_is_left_out_is_said(tmp_path, command):
    random = np.random.default_rng(6)
    values = random.normal(size=(200, 3))
    np.savez(tmp_path / "a.npz", fc=values, other=values)
    values[3, 1] = np.nan
    values[:, 2] = 1
    np.savez(tmp_path / "b.npz", fc=values, third=values)
    words = " ".join(command("drift", tmp_path / "a.npz", tmp_path / "b.npz")[1].split())
    assert "1 value is not finite and left out" in words
    assert "only one of the two has them: other, third" in words
    assert "fc unit 0" in words


def test_mistakes_are_one_line(dumps, refused, tmp_path):
    assert "no such file" in refused("drift", dumps[0], tmp_path / "none.npy")
    assert "no metric of arrays" in refused("drift", *dumps, "--metric", "ks")
    np.save(tmp_path / "c.npy", np.zeros((5, 4)))
    assert "30 units in" in refused("drift", dumps[0], tmp_path / "c.npy")
