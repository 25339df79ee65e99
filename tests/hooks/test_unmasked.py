"""Padding of which an argument tells, where no mask leaves it out."""

import pytest
import torch
from torch import nn

import icshift
from icshift.hooks.unmasked import Unmasked
from icshift.record.recorder import Recorder
from icshift.reports.run import run_report

KEPT = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 3)

    def forward(self, input_ids, attention_mask=None, src_key_padding_mask=None):
        given = [mask for mask in (attention_mask, src_key_padding_mask) if mask is not None]
        return self.embed(input_ids) * len(given)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (((KEPT, KEPT), {}), {"attention_mask": (4, 8, False)}),
        (((), {"input_ids": KEPT, "attention_mask": KEPT.bool()}), {"attention_mask": (4, 8, False)}),
        (((KEPT,), {"src_key_padding_mask": KEPT == 0}), {"src_key_padding_mask": (4, 8, True)}),
        ((({"attention_mask": KEPT},), {}), {"attention_mask": (4, 8, False)}),
        (((KEPT, torch.ones(2, 4)), {}), {}),
        (((KEPT, torch.ones(2, 4, dtype=torch.long)), {}), {}),
        (((KEPT, KEPT.to("meta")), {}), {}),
        (((KEPT, KEPT[:, None]), {}), {}),
        (((KEPT, None), {"attention": KEPT}), {}),
    ],
)
def test_what_hides_positions_is_found_by_its_name(inputs, expected):
    unmasked = Unmasked(Model())
    for _ in range(2):
        unmasked.note(inputs)
    found = {name: tuple(seen.values()) for name, seen in unmasked.found().items()}
    assert found == {name: (2 * hidden, 2 * n, value) for name, (hidden, n, value) in expected.items()}


def test_that_padding_is_counted_is_said_and_that_it_is_left_out_is_not(tmp_path):
    model = Model()
    for name, mask, rows in (("counted", None, 8), ("masked", lambda attention_mask: attention_mask == 0, 4)):
        with Recorder(model, tmp_path / name, mask=mask) as recorder:
            model(input_ids=KEPT, attention_mask=KEPT).sum().backward()
            recorder.step()
        run = icshift.open(tmp_path / name)
        assert run.distribution("train", "embed", 1).count.tolist() == [rows] * 3
        assert run_report(run).notes == (
            (
                "attention_mask hides 50% of 8 positions, which are counted: "
                "Recorder(mask=lambda attention_mask: attention_mask == 0) leaves them out",
            )
            if mask is None
            else ()
        )
