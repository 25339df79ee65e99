"""How commands open saved models: which model is made, where it is put, and how it is left."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from icshift.cli.saved import Loading, opened
from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import Wanted
from tests.zoo import with_targets as network

NOTHING = Loading(None, None, batch_size=256, limit=None, device="cpu", dtype=None, wanted=Wanted())
NET = replace(NOTHING, model="tests.zoo.with_targets:Net")
OWNED = replace(NOTHING, model="tests.zoo.with_targets:OWNED")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    network.save(folder)
    state = torch.load(folder / "step-60.pt")["model"]
    torch.save({name: value for name, value in state.items() if not name.startswith("fc2")}, folder / "part.pt")
    torch.save(network.Net(), folder / "whole.pt")
    return folder


def saved(folder, *names):
    return find([folder / name for name in names])


def test_every_saved_model_is_put_into_the_one_model(folder):
    with opened(saved(folder, "step-20.pt", "step-60.pt"), NET) as found:
        assert type(found.model).__name__ == "Net"
        snapshots = found.snapshots(found.trajectory().models)
        assert [snapshot.name for snapshot in snapshots] == ["step 20", "step 60"]
        for snapshot, step in zip(snapshots, (20, 60), strict=True):
            snapshot.put(found.model)
            expected = torch.load(folder / f"step-{step}.pt")["model"]
            assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())


def test_arguments_reach_what_makes_the_model(folder):
    with opened(saved(folder, "step-60.pt"), replace(NET, arguments=["hidden=7"])) as found:
        assert found.model.fc1.out_features == 7
        with pytest.raises(ModelError, match=r"fc1\.weight: 6×5 in the file, 7×5 in the model"):
            found.snapshots(found.found)[0].put(found.model)


def test_the_same_model_is_made_every_time_and_draws_nothing(folder):
    before, weights = torch.get_rng_state(), []
    for _ in range(2):
        with opened(saved(folder, "step-60.pt"), NET) as found:
            weights.append(found.model.fc1.weight.detach().clone())
    assert torch.equal(*weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_model_and_data_have_the_precision_that_is_asked_for(folder):
    with opened(saved(folder, "step-60.pt"), replace(NET, dtype="float64", limit=10, batch_size=4)) as found:
        assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float64}
        data, _ = found.data(str(folder / "unlabelled.npz"))
        assert data.examples == 10
        inputs = list(data.tensors())
        assert {part.dtype for part in inputs} == {torch.float64}
        assert [len(part) for part in inputs] == [3, 4, 3]


def test_a_model_that_is_somebodys_is_what_it_was(folder):
    model = network.OWNED.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    places = [parameter.data_ptr() for parameter in model.parameters()]
    with opened(saved(folder, "step-60.pt"), replace(OWNED, dtype="float64")) as found:
        found.snapshots(found.found)[0].put(found.model)
        found.model.eval()
        assert not torch.equal(found.model.fc1.weight.float(), before["fc1.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [parameter.data_ptr() for parameter in model.parameters()] == places
    assert all(module.training for module in model.modules())


def test_what_partial_loading_leaves_is_told_of_each(folder):
    told = []
    found = saved(folder, "part.pt", "step-60.pt")
    with opened(found, replace(NET, wanted=Wanted(partial=True))) as models:
        said = models.trajectory(lambda: told.append(1)).notes
    assert len(told) == 2
    assert said == [
        "nothing tells in which order the training made these models: they are in that in which they were given",
        "part.pt: 2 of 9 tensors stayed at their initialisation: fc2.weight, fc2.bias",
    ]
    with opened(found, NET) as models, pytest.raises(ModelError, match="fc2"):
        models.trajectory()


def test_a_whole_model_needs_no_spec_but_trust(folder):
    with opened(saved(folder, "whole.pt"), replace(NOTHING, wanted=Wanted(unsafe=True))) as found:
        assert isinstance(found.model, nn.Module)
    for asked in (NOTHING, replace(NOTHING, arguments=["hidden=7"])):
        with pytest.raises(ModelError, match="--unsafe-pickle" if asked is NOTHING else "give --model too"):  # noqa: SIM117
            with opened(saved(folder, "whole.pt"), asked):
                pass


def test_weights_alone_need_a_spec(folder):
    with pytest.raises(ModelError, match="holds weights alone"), opened(saved(folder, "step-60.pt"), NOTHING):
        pass
