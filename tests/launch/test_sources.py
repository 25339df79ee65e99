"""Data are known again, whatever loader draws from them."""

import gc

import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from icshift.launch.sources import Sources


def test_a_loader_is_its_own_source_and_so_is_another_of_its_data():
    data = TensorDataset(torch.zeros(8))
    sources = Sources()
    one = DataLoader(data, 2, shuffle=True)
    assert sources.of(one) is sources.of(one) is sources.of(DataLoader(data, 4))
    assert sources.of(DataLoader(TensorDataset(torch.zeros(8)), 2)) is not sources.of(one)
    assert sources.of(DataLoader(Subset(data, [1, 2]), 2)) is not sources.of(one)


def test_data_without_weak_references_are_told_by_their_loader():
    sources, data = Sources(), [1, 2, 3]
    one, other = DataLoader(data), DataLoader(data)
    assert sources.of(one) is sources.of(one)
    assert sources.of(one) is not sources.of(other)


def test_nothing_of_the_training_is_kept_alive_and_what_is_made_anew_takes_its_place():
    sources = Sources()
    first = sources.of(DataLoader(TensorDataset(torch.zeros(8))))
    gc.collect()
    assert first.gone
    longer = sources.of(DataLoader(TensorDataset(torch.zeros(9))))
    assert longer is not first
    assert sources.of(DataLoader(TensorDataset(torch.zeros(8)))) is first
