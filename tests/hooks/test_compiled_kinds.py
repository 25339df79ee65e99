"""`torch.compile` of models of all kinds: outputs of every form, layers of every type."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.hooks.compiling import assert_same, breaks, graphs
from tests.zoo.models import specimens

pytestmark = pytest.mark.usefixtures("quiet_compiler")

KINDS = specimens(
    "inplace_on_its_input",
    "lstm",
    "packed_sequence",
    "attention_over_sequences_of_changing_length",
    "encoder_layer",
    "dict_output",
    "dataclass_output",
    "autocast",
    "empty_batch",
    "buffers_and_attributes_changed_by_forward",
    "unbatched_cells",
)
LIKE_THEM = specimens(
    "channels_last",
    "inplace_relu",
    "decoder",
    "list_output",
    "namedtuple_output",
    "kwargs_only",
    "complex_intermediate",
    "frozen",
)
"""Each has one of the others that the compiler treats in the same way."""


@pytest.mark.some(5)
@pytest.mark.parametrize(
    "specimen",
    [*KINDS, *(pytest.param(one, marks=pytest.mark.thorough) for one in LIKE_THEM)],
    ids=lambda specimen: specimen.name,
)
def test_every_kind_of_model_is_recorded_compiled_as_it_is_without(specimen, tmp_path):
    """Outputs of all forms and types; where the compiler breaks the graph itself, it breaks it no more often."""

    def train(path, compiled, recorded=True):
        torch.compiler.reset()
        counters.clear()
        torch.manual_seed(7)
        model, make_batch = specimen.build()
        random = np.random.default_rng(7)
        args, kwargs = make_batch(random)
        model.eval()(*args, **kwargs)  # Lazy layers are initialised.
        call = torch.compile(model, backend="eager") if compiled else model
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.05)
        with Recorder(model, path, sites="*", samples="all") if recorded else nullcontext():
            for step in range(3):
                args, kwargs = make_batch(random)
                optimizer.zero_grad()
                specimen.loss(call(*args, **kwargs)).backward()
                optimizer.step()
                if step == 1:
                    model.eval()
                    with torch.no_grad():
                        call(*args, **kwargs)
                    model.train()
        return StoredRun(path) if recorded else None

    train(None, compiled=True, recorded=False)
    without, graphs_without = breaks(), graphs()
    found = train(tmp_path / "compiled", compiled=True)
    assert breaks() == without
    # One more, after the first forward: the hooks that follow a tensor from layer to layer are gone then.
    assert graphs() <= graphs_without + 1
    assert_same(found, train(tmp_path / "eager", compiled=False), 1e-6)
