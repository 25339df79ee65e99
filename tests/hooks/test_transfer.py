"""Tensors on their way to the host: in order, and as they were when they were sent.

What comes from a GPU is tried where there is one.
"""

import pytest
import torch

from icshift.hooks.transfer import _IN_FLIGHT, Transfer

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_tensors_arrive_in_order_as_they_were_sent(device):
    transfer, arrived = Transfer(), []
    source = torch.zeros(3, device=device)
    for number in range(5):
        source.fill_(number)
        transfer.send([source, -source], lambda both: arrived.append([tensor.tolist() for tensor in both]))
        source.fill_(-1)  # what was sent is overwritten at once, as by an in-place operation
    transfer.deliver(wait=True)
    assert arrived == [[[float(number)] * 3, [-float(number)] * 3] for number in range(5)]
    assert transfer.idle


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_on_the_host_waits_for_what_was_sent_before(device):
    transfer, arrived = Transfer(), []
    transfer.send([torch.ones(2, device=device)], lambda _: arrived.append("first"))
    transfer.send([torch.ones(2)], lambda _: arrived.append("second"))
    transfer.send([], lambda _: arrived.append("third"))
    transfer.deliver(wait=True)
    assert arrived == ["first", "second", "third"]


def test_what_arrives_may_send_something_itself():
    transfer, arrived = Transfer(), []

    def again(tensors):
        arrived.append(tensors[0].item())
        if tensors[0] < 3:
            transfer.send([tensors[0] + 1], again)

    transfer.send([torch.tensor(1.0)], again)
    transfer.deliver(wait=True)
    assert arrived == [1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_memory_of_what_is_under_way_is_bounded_and_the_oldest_alone_is_waited_for():
    transfer, arrived = Transfer(), []
    large = torch.ones(_IN_FLIGHT // 16, device="cuda")  # four bytes each
    for number in range(9):
        torch.cuda._sleep(10**8)
        transfer.send([large], lambda _, number=number: arrived.append(number))
    assert 0 < len(arrived) < 9
    transfer.deliver(wait=True)
    assert arrived == list(range(9))
