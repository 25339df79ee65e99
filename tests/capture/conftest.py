"""What every test of recording needs: one thread, the same random numbers every time, and no trace left behind."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

torch.set_num_threads(1)

GLOBAL_HOOKS = (
    optimizer_hooks._global_optimizer_post_hooks,
    optimizer_hooks._global_optimizer_pre_hooks,
    module_hooks._global_forward_hooks,
    module_hooks._global_forward_pre_hooks,
    module_hooks._global_backward_hooks,
)


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(7)


@pytest.fixture(autouse=True)
def no_global_hook_survives() -> Iterator[None]:
    yield
    assert [len(hooks) for hooks in GLOBAL_HOOKS] == [0] * len(GLOBAL_HOOKS)
