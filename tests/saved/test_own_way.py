"""What modules themselves rename and convert as they load what older versions of them saved."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import load
from icshift.saved.own_way import as_loaded, renamed_versions

INPUTS = torch.linspace(-1, 1, 12).view(3, 4)


def normalised(norm, *, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(norm(nn.Linear(4, 5, bias=bias)), nn.ReLU(), norm(nn.Linear(5, 2, bias=bias)))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "net.inner."])
def test_old_weight_norm_is_loaded_as_torch_loads_it(tmp_path, prefix, bias):
    old = normalised(nn.utils.weight_norm, bias=bias)
    nn.init.constant_(old[0].weight_g, 3.0)
    torch.save({prefix + name: value for name, value in old.state_dict().items()}, tmp_path / "old.pt")
    model = normalised(nn.utils.parametrizations.weight_norm, bias=bias)
    loaded = load(*find([tmp_path / "old.pt"]))
    fitted = fit(model, loaded.state, loaded.versions)
    assert (fitted.missing, fitted.unexpected, fitted.prefix) == ((), (), prefix.removeprefix("module."))
    assert torch.equal(model(INPUTS), old(INPUTS))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_torch_itself_does_not_convert_is_refused():
    new = normalised(nn.utils.parametrizations.weight_norm).state_dict()
    with pytest.raises(ModelError, match=r"4 missing \(0\.weight_g"):
        fit(normalised(nn.utils.weight_norm), new)


def first_spectral_norm():
    """A model with spectral norm, and its state dict as PyTorch 1.0 wrote it: a normalised weight and no v."""
    model = normalised(nn.utils.spectral_norm)
    model(INPUTS)
    model.eval()(INPUTS)
    state = model.state_dict()
    for index in (0, 2):
        state[f"{index}.weight"] = model[index].weight.detach().clone()
        del state[f"{index}.weight_v"]
    del state._metadata["0"]["spectral_norm"], state._metadata["2"]["spectral_norm"]
    return model, state


def test_the_first_spectral_norm_gets_the_vector_that_it_lacked(tmp_path):
    old, state = first_spectral_norm()
    torch.save({"state_dict": state}, tmp_path / "old.pt")
    loaded = load(*find([tmp_path / "old.pt"]))
    model = normalised(nn.utils.spectral_norm).eval()
    fit(model, loaded.state, loaded.versions)
    torch.testing.assert_close(model(INPUTS), old(INPUTS))


class Renamed(nn.Module):
    """Version 2 calls `old` `new`, and its scale is the inverse of what it was."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.new = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version", 1) < 2:
            for name in ("weight", "bias"):
                if f"{prefix}old.{name}" in state_dict:
                    state_dict[f"{prefix}new.{name}"] = state_dict.pop(f"{prefix}old.{name}")
            state_dict[f"{prefix}scale"] = 1 / state_dict[f"{prefix}scale"]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@pytest.mark.parametrize("wrapped", ["", "module."])
@pytest.mark.parametrize("named", ["old", "new"])
def test_versions_reach_modules_that_load_by_them(tmp_path, named, wrapped):
    state = nn.Sequential(Renamed()).state_dict()
    state["0.scale"] = torch.full((1,), 4.0)
    metadata = {f"{wrapped}{name}".rstrip("."): entry for name, entry in state._metadata.items()}
    metadata[f"{wrapped}0"] = {"version": 1}
    renamed = type(state)((wrapped + name.replace("new", named), value) for name, value in state.items())
    renamed._metadata = metadata
    torch.save(renamed, tmp_path / "a.pt")
    model = nn.Sequential(Renamed())
    loaded = load(*find([tmp_path / "a.pt"]))
    fit(model, loaded.state, loaded.versions)
    assert model[0].scale.item() == 0.25
    assert torch.equal(model[0].new.weight, state["0.new.weight"])


def test_of_the_version_of_today_nothing_is_converted():
    model, state = nn.Sequential(Renamed()), nn.Sequential(Renamed()).state_dict()
    state["0.scale"] = torch.full((1,), 4.0)
    fit(model, state, state._metadata)
    assert model[0].scale.item() == 4


class Refusing(Renamed):
    def _load_from_state_dict(self, *_):
        raise RuntimeError("never")


def test_a_model_that_refuses_or_cannot_be_copied_says_nothing():
    state = Renamed().state_dict()
    assert as_loaded(Refusing(), state, {}) is None
    generator = nn.Linear(1, 1)
    generator.made = (number for number in range(3))
    assert as_loaded(generator, generator.state_dict(), {}) is None


def test_the_model_that_is_asked_stays_as_it_was():
    model = Renamed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = as_loaded(model, {name: value + 1 for name, value in before.items()} | {"more": torch.ones(1)}, {})
    assert set(found) == {*before, "more"}
    assert torch.equal(found["new.weight"], before["new.weight"] + 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_versions_under_the_names_of_the_model():
    model = nn.Sequential(nn.Linear(2, 2))
    assert renamed_versions(model, {"net.0": {"version": 1}, "other": {"version": 2}}, "net.") == {"0": {"version": 1}}
    assert renamed_versions(model, {"": {"version": 1}}, "-0.") == {"0": {"version": 1}}
