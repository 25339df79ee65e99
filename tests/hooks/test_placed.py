"""A hook that was lifted comes back to its place among those of others, and only once."""

from torch import nn

from icshift.hooks.hook import Hook
from icshift.hooks.placed import Placed


def test_hooks_of_before_come_before_it_and_all_others_after_it():
    module, seen = nn.Identity(), []
    first = module.register_forward_hook(lambda *_: seen.append("first"))
    placed = Placed(module, Hook(module, lambda *_: seen.append("ours")))
    module.register_forward_hook(lambda *_: seen.append("then"))
    placed.lift()
    module.register_forward_hook(lambda *_: seen.append("meanwhile"))
    first.remove()
    placed.put_back()
    placed.put_back()
    module(1)
    assert seen == ["ours", "then", "meanwhile"]


def test_one_that_is_always_called_stays_so_and_one_that_was_removed_does_not_come_back():
    class Breaks(nn.Module):
        def forward(self, x):
            raise KeyError(x)

    module, seen = Breaks(), []
    placed = Placed(module, Hook(module, lambda *_: seen.append("ours")), always_call=True)
    placed.lift()
    placed.put_back()
    try:
        module(1)
    except KeyError:
        seen.append("raised")
    placed.lift()
    placed.remove()
    placed.put_back()
    assert seen == ["ours", "raised"]
    assert not module._forward_hooks
