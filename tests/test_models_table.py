"""docs/models.md says of models of Hugging Face what a recording of them says; torchvision's are not installed here."""

import re

import pytest
import torch

from benchmarks.models import TABLE, huggingface, measured

pytest.importorskip("transformers")
ROWS = {
    name: [cell.strip() for cell in cells.split("|")]
    for name, cells in re.findall(r"^\| (\w+) \| (\d.*) \|$", TABLE.read_text(), re.M)
}


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "MixtralForCausalLM", "T5ForConditionalGeneration"])
def test_a_model_is_recorded_as_the_table_says(name, tmp_path):
    torch.manual_seed(0)
    row = measured(huggingface()[name], tmp_path / "run")
    *counts, covered, unchanged = ROWS[name]
    assert [row.modules, row.watched, row.called, len(row.sites)] == [int(count) for count in counts]
    assert f"{row.covered:.1%}" == covered
    assert (row.same, unchanged) == (True, "bit for bit")


def test_the_table_has_every_model_and_no_training_was_changed():
    assert ROWS.keys() >= huggingface().keys()
    assert {cells[-1] for cells in ROWS.values()} == {"bit for bit"}
    assert min(float(cells[-2].removesuffix("%")) for cells in ROWS.values()) > 98
