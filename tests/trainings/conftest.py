"""What every training is tested with: the same random numbers every time, and no hook left behind."""

import pytest
import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

collect_ignore = ["scripts"]
"""They train when they are imported."""

GLOBAL_HOOKS = (
    optimizers._global_optimizer_post_hooks,
    optimizers._global_optimizer_pre_hooks,
    modules._global_forward_hooks,
    modules._global_forward_pre_hooks,
    modules._global_module_registration_hooks,
    modules._global_parameter_registration_hooks,
)


@pytest.fixture(autouse=True)
def same_random_numbers_every_time():
    torch.manual_seed(7)


@pytest.fixture(autouse=True)
def no_global_hook_survives():
    yield
    assert [len(hooks) for hooks in GLOBAL_HOOKS] == [0] * len(GLOBAL_HOOKS)
