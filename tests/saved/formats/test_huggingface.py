"""Directories of Hugging Face: built from config.json, and from nothing else."""

import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import Wanted, build, load
from tests.saved import zoo


def built(path, **options):
    return build(*find([path]), Wanted(**options))


@pytest.fixture
def copy(vit, tmp_path):
    """A directory to change, and what changes its config.json."""

    def changed(**entries):
        path = tmp_path / "copy"
        shutil.copytree(vit, path, dirs_exist_ok=True)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | entries))
        return path

    return changed


def test_the_model_is_built_from_its_configuration(vit):
    model, original = built(vit), zoo.train(zoo.vit(), 2)[0]
    assert type(model).__name__ == "ViTForImageClassification"
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in original.state_dict().items())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert model(zoo.digits()[0][:3]).logits.shape == (3, 10)


def test_its_weights_fit_the_same_class_whatever_names_they_were_stored_under(vit):
    """Transformers 5 stores this model under names that its own classes have no longer."""
    model, state = zoo.vit(), load(*find([vit])).state
    assert fit(model, state).left == ""
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in built(vit).state_dict().items())
    model = zoo.vit().double()
    fit(model, {name: tensor.bfloat16() for name, tensor in state.items()})
    assert torch.equal(model.classifier.weight, state["classifier.weight"].bfloat16().double())


def test_what_does_not_fit_the_same_class_is_told(vit):
    model, state = zoo.vit(), load(*find([vit])).state
    state["other.weight"] = state.pop("classifier.bias")
    state["classifier.weight"] = torch.zeros(3, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError) as raised:
        fit(model, state)
    assert "1 missing (classifier.bias), 1 unexpected (other.weight)" in str(raised.value)
    assert "1 different (classifier.weight: 3×3 in the file, 10×8 in the model)" in str(raised.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert fit(model, state, partial=True).missing == ("classifier.bias",)


def test_shards_and_pickled_weights_are_the_same_model(vit, tmp_path):
    model = built(vit)
    model.save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    shutil.copytree(vit, tmp_path / "bin")
    (tmp_path / "bin" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    for name in ("shards", "bin"):
        again = built(tmp_path / name).state_dict()
        assert all(torch.equal(tensor, again[key]) for key, tensor in model.state_dict().items())


def test_tied_weights_are_stored_once(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = {"bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20, n_positions=8, **settings))
    model.save_pretrained(tmp_path / "gpt2")
    again = built(tmp_path / "gpt2")
    assert again.lm_head.weight is again.transformer.wte.weight
    assert fit(model, load(*find([tmp_path / "gpt2"])).state).missing == ()


def test_code_of_the_directory_is_refused(copy, tmp_path):
    marker = tmp_path / "marker"
    path = copy(auto_map={"AutoModel": "modeling.Evil", "AutoConfig": "modeling.EvilConfig"})
    (path / "modeling.py").write_text(f"open({str(marker)!r}, 'w')")
    with pytest.raises(ModelError, match=r"brings code of its own \(auto_map.*--model"):
        built(path)
    assert not marker.exists()
    assert load(*find([path])).state  # The weights are just weights.


@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"text_config": {"auto_map": {"AutoModel": "x"}}}, "auto_map"),
        ({"model_type": "nowhere"}, "model_type 'nowhere'"),
        ({"model_type": ["vit"]}, "cannot be read|model_type"),
        ({"architectures": ["BertModel"]}, "names BertModel for a vit"),
        ({"architectures": ["Trainer"]}, "which transformers lacks"),
        ({"architectures": ["os.system"]}, "which transformers lacks"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
        ({"attn_implementation": "somebody/kernel"}, "names a kernel to fetch"),
        ({"_attn_implementation": "somebody/kernel:run"}, "names a kernel to fetch"),
        ({"num_hidden_layers": 1_000_000_000}, "num_hidden_layers 1000000000"),
        ({"num_hidden_layers": 90_000}, "far more parts than"),
        ({"hidden_size": 60_000, "num_attention_heads": 1}, "far more numbers than"),
        ({"image_size": 1 << 40}, "image_size"),
        ({"num_labels": 1_000_000}, "num_labels"),
        ({"hidden_size": "eight"}, "gives no model by its config.json"),
        ({"hidden_size": -8}, "gives no model by its config.json"),
        ({"num_attention_heads": 0}, "gives no model by its config.json"),
        ({"hidden_act": "__import__('os')"}, "gives no model by its config.json"),
    ],
)
def test_configurations_that_are_refused(copy, entries, told):
    with pytest.raises(ModelError, match=told) as raised:
        built(copy(**entries))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "[" * 100_000, '{"model_type": "vit", "model_type"'])
def test_configurations_that_are_none(copy, content):
    path = copy()
    (path / "config.json").write_text(content)
    with pytest.raises(ModelError):
        built(path)


def test_weights_that_do_not_fit_are_refused(copy):
    path = copy()
    state = load_file(path / "model.safetensors")
    state["classifier.wrong"] = state.pop("classifier.bias")
    state["classifier.weight"] = torch.zeros(3, 3)
    save_file(state, path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"1 missing \(classifier.bias\), 1 unexpected .*1 of another shape.*--partial"
    ):
        built(path)
    assert built(path, partial=True).classifier.weight.shape == (10, 8)


def test_without_a_configuration_the_weights_are_still_there(copy):
    path = copy()
    (path / "config.json").unlink()
    assert load(*find([path])).state
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        built(path)


def test_an_adapter_is_no_model(copy):
    path = copy()
    (path / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/large"}')
    for attempt in (load, build):
        with pytest.raises(ModelError, match=r"adapter \(PEFT\).*merge"):
            attempt(*find([path]))
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="adapter"):
        load(*find([path]))


def test_the_network_is_out_of_reach_while_a_model_is_built():
    from icshift.saved.formats.huggingface import _sealed

    with socket.create_server(("127.0.0.1", 0)) as server:
        with _sealed(), pytest.raises(ModelError, match="network"):
            socket.create_connection(server.getsockname())
        socket.create_connection(server.getsockname()).close()


def test_a_backbone_of_the_hub_is_not_fetched(tmp_path, vit):
    """The configuration of some models names weights to download."""
    from transformers import DetrConfig

    path = tmp_path / "detr"
    shutil.copytree(vit, path)
    config = DetrConfig(use_timm_backbone=True, use_pretrained_backbone=True, backbone="resnet18", backbone_config=None)
    (path / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": ["DetrForObjectDetection"]}))
    with pytest.raises(ModelError):
        built(path)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "", 3])
def test_shards_elsewhere_are_not_followed(vit, tmp_path, name):
    path = tmp_path / "shards"
    path.mkdir()
    shutil.copy(vit / "model.safetensors", tmp_path / "elsewhere.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match=r"is not in its own directory|is missing"):
        load(*find([path]))


def test_an_index_that_lies_is_refused(saved, tmp_path):
    path = shutil.copytree(saved["sharded"], tmp_path / "shards")
    index = path / "model.safetensors.index.json"
    original = json.loads(index.read_text())
    first = next(iter(original["weight_map"].values()))
    for weight_map in ({"nowhere": first}, {}, [], None, {"conv.weight": "model-00009-of-00002.safetensors"}):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(ModelError):
            load(*find([path]))


def test_progress_bars_and_reports_keep_quiet(copy, capfd):
    path = copy()
    state = load_file(path / "model.safetensors")
    del state["classifier.bias"]
    save_file(state, path / "model.safetensors")
    capfd.readouterr()
    built(path, partial=True)
    assert capfd.readouterr() == ("", "")
