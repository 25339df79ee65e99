"""What `icshift onset` prints."""

import json

from icshift.analysis.onset import onset
from icshift.runs.reader import StoredRun


def test_onset_has_a_row_a_site_and_a_sentence(with_batch_norm, printed):
    text = printed("onset", with_batch_norm)
    for site in ("fc1", "norm1", "fc2"):
        assert any(line.split()[:1] == [site] for line in text.splitlines())
    assert "phase train · 40 steps" in " ".join(text.split())
    assert "left the band of" in text
    assert "Next: icshift " in text


def test_onset_json_is_the_table(with_batch_norm, printed):
    found = json.loads(printed("onset", with_batch_norm, "--json", "--site", "fc*"))
    expected = onset(StoredRun(with_batch_norm), sites=["fc*"])
    assert [row["site"] for row in found["sites"]] == expected["site"].tolist()
    assert [row["step"] for row in found["sites"]] == [None if s != s else s for s in expected["step"]]  # noqa: PLR0124
    assert found["verdict"]


def test_onset_of_too_few_steps_and_after_a_step(one_window, with_batch_norm, printed):
    assert "cannot be told: 10 steps: it takes 12" in printed("onset", one_window)
    assert "cannot be told: no step after 99" in printed("onset", with_batch_norm, "--after", "99")


def test_mistakes_are_one_line(two_windows, refused):
    assert "no site 'fc9'" in refused("onset", two_windows, "--site", "fc9")
    assert "no phase with a step series 'probe'" in refused("onset", two_windows, "--phase", "probe")
