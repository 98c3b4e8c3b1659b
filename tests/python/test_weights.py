"""A saved model's folder opens with the stock readers of the field: safetensors, transformers, peft, gguf."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from state_help import bits, carry, same
from torch import nn
from torch.nn import functional as F

import cairn

sys.path.append(str(Path(__file__).parents[1] / "loaders"))
import rules  # noqa: E402 - how servers and loaders pick files

os.environ.setdefault("HF_HUB_OFFLINE", "1")
safetensors = pytest.importorskip("safetensors.torch")
transformers = pytest.importorskip("transformers")


def gpt(seed: int = 1, **options: Any) -> Any:
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2, **options)).eval()


def llama(seed: int = 1) -> Any:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, tie_word_embeddings=False)
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()


def words() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")


TOKENS = torch.arange(8).reshape(1, 8)


@pytest.mark.parametrize("make", [gpt, llama])
def test_a_saved_model_is_a_model_folder(make: Any, tmp_path: Path) -> None:
    model = make()
    tokenizer = words()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "run": cairn.Values(epoch=1)}, attachments={"tokenizer": tokenizer, "notes.txt": b"hello"}) as manager:
        manager.save(1, force=True)
    folder = tmp_path / "run" / "checkpoint-1"
    loaded = type(model).from_pretrained(folder)
    assert bits(loaded(TOKENS).logits) == bits(model(TOKENS).logits)
    inner = transformers.AutoModel.from_pretrained(folder)
    assert type(inner).__name__ == type(model).__name__.replace("LMHeadModel", "Model").replace("ForCausalLM", "Model") and inner.dtype == model.dtype
    assert same(dict(inner.state_dict()), dict(model.base_model.state_dict()))
    assert type(transformers.AutoModelForCausalLM.from_pretrained(folder)) is type(model)
    assert transformers.AutoTokenizer.from_pretrained(folder)("a b x")["input_ids"] == tokenizer("a b x")["input_ids"] == [0, 1, 2]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [type(model).__name__] and config["dtype"] == str(model.dtype).removeprefix("torch.")
    assert transformers.GenerationConfig.from_pretrained(folder).to_dict() == model.generation_config.to_dict()
    weights = safetensors.load_file(folder / "model.safetensors")
    state = model.state_dict()
    assert set(weights) == set(state) - ({"lm_head.weight"} if model.config.tie_word_embeddings else set())
    assert all(same(tensor, state[name]) for name, tensor in weights.items())
    assert (folder / "notes.txt").read_bytes() == b"hello" and not list(folder.glob("*.bin")) + list(folder.glob("*.pt"))


def test_a_config_that_changed_is_written_anew(tmp_path: Path) -> None:
    model = gpt()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}, mode="sync") as manager:
        manager.save(1, force=True)
        manager.save(2, force=True)
        model.config.task_specific_params = {"summary": {"length": 5}}
        manager.save(3, force=True)
        model.config.task_specific_params["summary"]["length"] = 7
        model.generation_config.max_length = 11
        manager.save(4, force=True)
        model.config.task_specific_params["summary"]["length"] = True
        manager.save(5, force=True)
        model.config.task_specific_params["summary"]["length"] = 1
        model.half()
        manager.save(6, force=True)
    folders = {step: tmp_path / "run" / f"checkpoint-{step}" for step in range(1, 7)}
    names = ("config", "generation_config")
    read = {step: {name: json.loads((folder / f"{name}.json").read_text()) for name in names} for step, folder in folders.items()}
    assert read[1] == read[2] and not read[2]["config"].get("task_specific_params")
    assert [read[step]["config"]["task_specific_params"]["summary"]["length"] for step in (3, 4)] == [5, 7]
    assert read[4]["generation_config"]["max_length"] == 11 != read[3]["generation_config"].get("max_length")
    assert read[4]["config"]["dtype"] == "float32" and read[6]["config"]["dtype"] == "float16"
    assert [repr(read[step]["config"]["task_specific_params"]["summary"]["length"]) for step in (5, 6)] == ["True", "1"]


def test_wrapped_models_and_own_tokenizers_attach_their_files(tmp_path: Path) -> None:
    model = gpt()
    model.tokenizer = words()
    cairn.save(tmp_path / "one", {"model": nn.DataParallel(model)}, attachments={"config.json": b'{"model_type": "gpt2", "mine": 1}'})
    names = {file.name for file in (tmp_path / "one").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    assert json.loads((tmp_path / "one" / "config.json").read_text())["mine"] == 1, "what is given goes first"


def test_attachments_that_are_none_are_refused(tmp_path: Path) -> None:
    class Silent:
        def save_pretrained(self, folder: str) -> None:
            pass

    with pytest.raises(cairn.UsageError, match="save_pretrained of a Silent wrote no file to attach"):
        cairn.save(tmp_path / "one", {"model": {"w": torch.ones(1)}}, attachments={"tokenizer": Silent()})
    with pytest.raises(TypeError):
        cairn.save(tmp_path / "one", {"model": {"w": torch.ones(1)}}, attachments={"x": 3})  # type: ignore[dict-item]
    with pytest.raises(cairn.Error, match="model.safetensors"):
        cairn.save(tmp_path / "one", {"model": {"w": torch.ones(1)}}, attachments={"model.safetensors": b"x"})
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("shard_bytes", [0, 20_000])
def test_a_large_model_is_sharded_as_the_hub_has_it(shard_bytes: int, tmp_path: Path) -> None:
    model = gpt()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}, shard_bytes=shard_bytes) as manager:
        manager.save(1, force=True)
    cairn.save(tmp_path / "one", {"model": model}, shard_bytes=shard_bytes)
    for folder in (tmp_path / "run" / "checkpoint-1", tmp_path / "one"):
        shards = sorted(file.name for file in folder.glob("*.safetensors"))
        if shard_bytes:
            assert len(shards) > 1 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
            index = json.loads((folder / "model.safetensors.index.json").read_text())
            assert index["metadata"]["total_size"] == sum(tensor.nbytes for name, tensor in model.state_dict().items() if name != "lm_head.weight")
            assert all(name in safetensors.load_file(folder / file) for name, file in index["weight_map"].items())
        else:
            assert shards == ["model.safetensors"] and not (folder / "model.safetensors.index.json").exists()
        assert bits(transformers.AutoModelForCausalLM.from_pretrained(folder)(TOKENS).logits) == bits(model(TOKENS).logits)
    other = gpt(2)
    cairn.load(tmp_path / "one", other)
    assert same(dict(model.state_dict()), dict(other.state_dict()))


def found_by_rules(folder: Path, files: list[str], names: set[str], chosen: Any) -> None:
    """Exactly these files are what servers and loaders take, by their rules as tests/loaders/rules.py has them; each rule notices a file too many."""
    assert rules.expected(folder) == (files, names) and sorted(file.name for file in folder.glob("*.safetensors")) == files

    def report(good: bool, what: str) -> None:
        assert good, what

    rules.check_checkpoint(folder.name, folder, report, chosen)


@pytest.mark.parametrize("shard_bytes", [0, 20_000], ids=["whole", "shards"])
def test_servers_find_exactly_the_models_files(shard_bytes: int, tmp_path: Path) -> None:
    model = gpt()
    others = {"ema": gpt(2), "consolidated": {"w": torch.ones(3)}, "model-2": {"w": torch.ones(3)}, "optimizer": torch.optim.AdamW(model.parameters())}
    step(model, others["optimizer"])
    options = {"attachments": {"tokenizer": words()}, "shard_bytes": shard_bytes}
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, **others}, **options) as manager:
        manager.save(1, force=True)
    cairn.save(tmp_path / "one", {"model": model, **others}, **options)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] if shard_bytes else ["model.safetensors"]
    for folder in (tmp_path / "run" / "checkpoint-1", tmp_path / "one"):
        found_by_rules(folder, files, set(model.state_dict()) - {"lm_head.weight"}, rules.RULES)


def test_servers_find_exactly_the_adapters_file(tmp_path: Path) -> None:
    model = tuned()
    optimizer = torch.optim.AdamW(trained(model))
    step(model, optimizer)
    state = {"model": model, "base": model.get_base_model(), "optimizer": optimizer}
    with cairn.CheckpointManager(tmp_path / "run", state) as manager:
        manager.save(1, force=True)
    cairn.save(tmp_path / "one", {"model": model})
    names = {name.replace(".default.", ".") for name, _ in model.named_parameters() if "lora" in name}
    for folder in (tmp_path / "run" / "checkpoint-1", tmp_path / "one"):
        found_by_rules(folder, ["adapter_model.safetensors"], names, rules.ADAPTER_RULES)
        assert not (folder / "config.json").exists(), "no server takes it for a model"
        for name in ("TGI", "mlx-lm", "llama.cpp", "transformers"):
            with pytest.raises(rules.Refused, match="no weights"):
                rules.RULES[name](folder)


def test_the_rules_are_those_of_servers(tmp_path: Path) -> None:
    """In a folder that holds more than a model, for what they should find in ours would not tell them apart."""
    shards = ["model-1.safetensors", "model-2.safetensors"]
    for name in [*shards, "adapter_model.safetensors", "stray.safetensors", "training_args.safetensors"]:
        safetensors.save_file({name: torch.ones(1)}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {name: name for name in shards}}))
    alike = {name: shards for name in rules.RULES}
    assert {name: rule(tmp_path) for name, rule in rules.RULES.items()} == alike | {"TGI": [*shards, "stray.safetensors"]}
    found = {name: rule(tmp_path) for name, rule in rules.ADAPTER_RULES.items()}
    assert found == {"peft, vLLM and llama.cpp": ["adapter_model.safetensors"], "TGI": ["adapter_model.safetensors", *shards, "stray.safetensors"]}
    index.unlink()
    assert rules.vllm(tmp_path) == ["adapter_model.safetensors", *shards, "stray.safetensors", "training_args.safetensors"]
    safetensors.save_file({"c": torch.ones(1)}, tmp_path / "consolidated.safetensors")
    with pytest.raises(rules.Refused, match="consolidated"):
        rules.vllm(tmp_path)


def test_gguf_reads_the_weights(tmp_path: Path) -> None:
    local = pytest.importorskip("gguf.utility").SafetensorsLocal
    model = gpt()
    cairn.save(tmp_path / "one", {"model": model})
    with local(tmp_path / "one" / "model.safetensors") as weights:
        assert all(bytes(tensor.mmap_bytes()) == bits(model.state_dict()[name]) for name, tensor in weights.items()) and len(weights) > 20


# --------------------------------------------------------------------------------------------------------------------- peft


def tuned(seed: int = 1, base: Any = None, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    base = base or gpt()
    base.name_or_path = "somebody/gpt"
    torch.manual_seed(seed)
    return peft.get_peft_model(base, peft.LoraConfig(**({"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True, "init_lora_weights": False} | options)))


def step(model: Any, optimizer: Any) -> None:
    F.cross_entropy(model(TOKENS).logits.flatten(0, 1), TOKENS.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


def trained(model: Any) -> list[Any]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["ln_f"]}, {"bias": "lora_only"}, {"use_dora": True}], ids=["lora", "modules", "bias", "dora"])
def test_an_adapter_is_a_folder_of_peft(options: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = tuned(**options).eval()
    optimizer = torch.optim.AdamW(trained(model), lr=0.1)
    step(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, shard_bytes=1) as manager:  # peft looks for one file
        manager.save(1, force=True)
    folder = tmp_path / "run" / "checkpoint-1"
    assert {file.name for file in folder.iterdir()} == {"adapter_model.safetensors", "adapter_config.json", "manifest.json", "training"}
    model.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    theirs, ours = safetensors.load_file(tmp_path / "theirs" / "adapter_model.safetensors"), safetensors.load_file(folder / "adapter_model.safetensors")
    assert set(theirs) <= set(ours) and all(same(tensor, ours[name]) for name, tensor in theirs.items())
    assert options.get("bias") or set(theirs) == set(ours)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "somebody/gpt" and config["inference_mode"] is True and config["r"] == 2
    loaded = peft.PeftModel.from_pretrained(gpt(), folder).eval()
    assert bits(loaded(TOKENS).logits) == bits(model(TOKENS).logits)


def test_an_adapter_is_loaded_into_a_model_of_peft(tmp_path: Path) -> None:
    """Looking back at a run of finetuning, as at any other; and the base of somebody else's, whose names are the model's own."""
    model = tuned(1).eval()
    optimizer = torch.optim.AdamW(trained(model), lr=0.1)
    logits = []
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        for count in (1, 2):
            step(model, optimizer)
            logits.append(bits(model(TOKENS).logits))
            manager.save(count, force=True)
        manager.wait_until_finished()
        other = tuned(2).eval()
        for checkpoint, seen in zip(manager, logits, strict=True):
            report = checkpoint.load_into(other)
            assert bits(other(TOKENS).logits) == seen and not report.missing + report.unexpected
    base = gpt()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.fill_(0.25)
    cairn.save(tmp_path / "base", {"model": base})
    names = {name.removeprefix("base_model.model.").replace(".base_layer", ""): name for name, _ in other.named_parameters()}
    cairn.load(tmp_path / "base", into=other, rename=names.get, min_coverage=0.5)
    assert all((parameter == 0.25).all() == ("lora" not in name) for name, parameter in other.named_parameters())


def test_all_of_a_model_of_peft_is_loaded_from_a_file_that_has_it(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    def make(seed: int) -> Any:
        torch.manual_seed(seed)
        return peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)), peft.LoraConfig(r=2, target_modules=["0"]))

    model, other = make(1), make(2)
    safetensors.save_file(model.state_dict(), tmp_path / "all.safetensors")
    report = cairn.load(tmp_path / "all.safetensors", into=other)
    assert not report.missing + report.unexpected and all(same(*pair) for pair in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_an_adapter_resumes_exactly_on_the_same_base(tmp_path: Path) -> None:
    model, other = tuned(1).eval(), tuned(2).eval()
    optimizer, fresh = torch.optim.AdamW(trained(model), lr=0.1), torch.optim.AdamW(trained(other), lr=0.1)
    for _ in range(2):
        step(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        manager.save(1, force=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": other, "optimizer": fresh}) as manager:
        report = manager.restore().report
    assert not report.missing + report.unexpected + report.new
    for _ in range(3):
        step(model, optimizer)
        step(other, fresh)
    assert same(dict(model.state_dict()), dict(other.state_dict()))


def test_another_base_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    model, other = tuned(1), tuned(2, gpt(5))
    before = [bits(parameter) for parameter in other.parameters()]
    with pytest.raises(cairn.MismatchError, match=r"model: its base has other weights than the one that was trained on \(somebody/gpt\): load that one"):
        carry(tmp_path, {"model": model}, {"model": other})
    assert before == [bits(parameter) for parameter in other.parameters()]


def test_a_base_that_is_an_entry_is_saved_once(tmp_path: Path) -> None:
    model, other = tuned(1), tuned(2, gpt(5))
    carry(tmp_path, {"model": model, "base": model.get_base_model()}, {"model": other, "base": other.get_base_model()})
    assert same(dict(model.state_dict()), dict(other.state_dict()))
    with pytest.raises(cairn.MismatchError, match=r'its base was saved as an entry of the state of its own: bind it, too: \{"base": model.get_base_model\(\)\}'):
        with cairn.CheckpointManager(tmp_path / "run", {"model": tuned(3)}) as manager:
            manager.restore()


def test_a_base_that_changed_is_seen(tmp_path: Path) -> None:
    """The digest is not made again at each save, but is where torch counts a change."""
    model = tuned(1)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        with torch.no_grad():
            model.get_base_model().transformer.wte.weight.add_(1.0)
        manager.save(2, force=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        with pytest.raises(cairn.MismatchError, match="its base has other weights"):
            manager.restore(step=1)
        assert manager.restore(step=2).step == 2


def test_a_base_that_was_loaded_anew_is_seen(tmp_path: Path) -> None:
    """The library's writing counts as torch's own."""
    model = tuned(1)
    cairn.save(tmp_path / "base", {"model": model.get_base_model()})
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        with torch.no_grad():
            model.get_base_model().transformer.wte.weight.add_(1.0)
        manager.save(2, force=True)
        cairn.load(tmp_path / "base", into=model.get_base_model(), only="wte")
        manager.save(3, force=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        assert manager.restore(step=3).step == 3


def test_what_is_trained_beside_the_adapter_and_buffers_are_saved(tmp_path: Path) -> None:
    def make(seed: int) -> Any:
        peft = pytest.importorskip("peft")
        torch.manual_seed(7)
        base = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        torch.manual_seed(seed)
        model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False))
        model.get_base_model()[2].weight.requires_grad_(True)
        return model

    model, other = make(1), make(2)
    with torch.no_grad():
        model(torch.randn(8, 4))
        model.get_base_model()[2].weight.add_(1.0)
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(dict(model.state_dict()), dict(other.state_dict()))


def test_a_merged_adapter_is_refused(tmp_path: Path) -> None:
    model = tuned(1)
    model.merge_adapter()
    with pytest.raises(cairn.UnstorableError, match=r"model/base_model.*: the adapter is merged into its base: call unmerge_adapter\(\)"):
        cairn.save(tmp_path / "one", {"model": model})
    model.unmerge_adapter()
    cairn.save(tmp_path / "one", {"model": model})


def test_prompts_and_second_adapters_come_back(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    def prompted(seed: int) -> Any:
        base = gpt()
        torch.manual_seed(seed)
        return peft.get_peft_model(base, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()

    model, other = prompted(1), prompted(2)
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(dict(model.state_dict()), dict(other.state_dict()))
    loaded = peft.PeftModel.from_pretrained(gpt(), tmp_path / "run" / "checkpoint-1").eval()
    assert bits(loaded(TOKENS).logits) == bits(model(TOKENS).logits)
    (tmp_path / "two").mkdir()
    model, other = tuned(1), tuned(2)
    for each in (model, other):
        each.add_adapter("second", peft.LoraConfig(r=3, target_modules=["c_proj"], fan_in_fan_out=True, init_lora_weights=False))
        each.set_adapter("second")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora" in name)
    for name, parameter in other.named_parameters():
        parameter.requires_grad_("lora" in name)
    carry(tmp_path / "two", {"model": model}, {"model": other})
    assert same(dict(model.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize("active", ["default", "second"])
def test_an_adapter_that_is_not_active_is_saved(active: str, tmp_path: Path) -> None:
    """peft freezes it, as the base."""
    peft = pytest.importorskip("peft")

    def two(seed: int) -> Any:
        model = tuned(seed, modules_to_save=["ln_f"])
        model.add_adapter("second", peft.LoraConfig(r=3, target_modules=["c_proj"], fan_in_fan_out=True, init_lora_weights=False, modules_to_save=["ln_f"]))
        model.set_adapter(active)
        return model

    model, other = two(1), two(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(1.0)
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(dict(model.state_dict()), dict(other.state_dict()))
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        assert not [info.name for info in checkpoint.native.tensors if "base_layer" in info.name or "wte" in info.name], "the base is not"


def test_a_file_of_one_adapter_is_loaded_beside_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    peft = pytest.importorskip("peft")
    cairn.save(tmp_path / "one", {"model": (model := tuned(1))})
    other = tuned(2)
    other.add_adapter("second", peft.LoraConfig(r=8, target_modules=["c_proj"], fan_in_fan_out=True, init_lora_weights=False))
    other.set_adapter("default")
    caplog.clear()
    report = cairn.load(tmp_path / "one/adapter_model.safetensors", into=other)
    assert len(report.restored) == len(peft.get_peft_model_state_dict(model)) and not report.missing and not caplog.records
    assert same(dict(peft.get_peft_model_state_dict(model)), dict(peft.get_peft_model_state_dict(other)))


def test_adapters_of_transformers_own_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = gpt()
    model._hf_peft_config_loaded = True  # as its add_adapter does
    cairn.save(tmp_path / "one", {"model": model})
    assert any("so from_pretrained does not find them in this folder" in record.getMessage() for record in caplog.records)
