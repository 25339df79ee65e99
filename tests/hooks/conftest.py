"""Tests of compiled models share a compiler that is silent and forgets, and the recording of an eager training."""

import gc
import logging
import warnings

import pytest
import torch
from torch._dynamo.utils import counters

from icshift.hooks import compiled as operators
from tests.hooks.compiling import LOGGERS, Heard, recording


@pytest.fixture(scope="module")
def nothing_is_left():
    """A recorder that another test let go of gives the compiler its settings back only once it is collected."""
    gc.collect()


@pytest.fixture
def quiet_compiler(request):
    """Every test begins with nothing compiled, and in none does the compiler complain."""
    request.getfixturevalue("nothing_is_left")
    torch.compiler.reset()
    counters.clear()
    heard = Heard()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(heard)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(heard)
    torch.compiler.reset()
    assert not heard.messages
    assert not [str(warning.message) for warning in warned if "_dynamo" in warning.filename]
    assert not operators._actions, "keys of graphs are forgotten when a recording ends"
    assert torch._dynamo.config.skip_nnmodule_hook_guards, "settings of the compiler are what they were"


@pytest.fixture(scope="session")
def of_eager(tmp_path_factory):
    """The recording of the training of the network that is not compiled."""
    return recording(tmp_path_factory.mktemp("eager") / "run")[0]
