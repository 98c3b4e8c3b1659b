"""Weights of others into a model of one's own: names, shapes and dtypes may differ; nothing is touched before all of it is matched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from state_help import bits, same
from torch import nn

import cairn
from cairn import _transfer


def network(width: int = 4, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width, bias=bias), nn.LayerNorm(width), nn.Linear(width, 3, bias=bias))


def cairn_folder(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    cairn.save(folder / "one", {"model": weights, "run": {"step": 3}})
    return folder / "one"


def one_file(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    save_file(weights, folder / "x.safetensors", {"format": "pt"})
    return folder / "x.safetensors"


def hub_folder(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    """As huggingface_hub splits it."""
    names = list(weights)
    files = {name: f"model-0000{1 + 2 * number // len(names)}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: weights[name] for name in names if files[name] == file}, folder / file, {"format": "pt"})
    size = sum(tensor.nbytes for tensor in weights.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": files}))
    return folder


def single_folder(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("written", [cairn_folder, one_file, hub_folder, single_folder])
def test_weights_come_from_any_source(written: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    model, other = network(), network()
    places = [parameter.data_ptr() for parameter in other.parameters()]
    report = cairn.load(written(tmp_path, weights_of(model)), other)
    assert same(weights_of(model), weights_of(other))
    assert sorted(report.restored) == sorted(weights_of(model)) and not report.missing + report.unexpected + report.converted + report.skipped
    assert report.bytes == sum(tensor.nbytes for tensor in weights_of(model).values())
    assert places == [parameter.data_ptr() for parameter in other.parameters()]


@pytest.mark.parametrize(
    "rename",
    [
        {r"^net\.": "", r"\.gamma$": ".weight"},
        lambda name: name.removeprefix("net.").replace("gamma", "weight") if name != "net.more" else None,
    ],
    ids=["patterns", "callable"],
)
def test_names_are_rewritten(rename: Any, tmp_path: Path) -> None:
    model, other = network(), network()
    source = {"net." + name.replace("1.weight", "1.gamma"): tensor for name, tensor in weights_of(model).items()} | {"net.more": torch.ones(1)}
    report = cairn.load(one_file(tmp_path, source), other, rename=rename)
    assert same(weights_of(model), weights_of(other))
    assert (report.unexpected, report.skipped) == ((["net.more"], []) if isinstance(rename, dict) else ([], ["net.more"]))


@pytest.mark.parametrize("second", ["a0.weight", "+0.weight"])  # whatever comes first in the file
def test_two_that_become_one_are_refused(second: str, tmp_path: Path) -> None:
    source = weights_of(network()) | {second: torch.ones(4, 4)}
    before = weights_of(other := network())
    with pytest.raises(cairn.MismatchError, match="would both become 0.weight: correct `rename`"):
        cairn.load(one_file(tmp_path, source), other, rename={r"^[a+]": ""})
    assert same(before, weights_of(other))


def test_what_is_missing_and_what_matches_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(99, 99), nn.LayerNorm(99))

    path = one_file(tmp_path, {name: tensor for name, tensor in weights_of(make()).items() if name != "1.bias"})
    report = cairn.load(path, make(), rename={"^module.": ""}, skip=["1.bias", "bais"])
    told = [record.getMessage().removeprefix(f"{path}: ") for record in caplog.records]
    assert told == ["skip: 'bais' is in no name"] == report.notes and report.missing == ["1.bias"]
    cairn.load(path, nn.Sequential(nn.Linear(99, 99), nn.LayerNorm(9)), on_shape="skip", skip="1.bias")
    cairn.load(path, make(), rename=lambda name: None if name == "1.weight" else name)
    assert len(caplog.records) == 1, "what is left out on purpose is not told"
    caplog.clear()
    cairn.load(path, make())
    assert [record.getMessage() for record in caplog.records] == [f"{path}: not in it, left as they were: 1.bias"]


def test_a_single_file_goes_before_an_index_of_earlier(tmp_path: Path) -> None:
    """As transformers has it: who saves again in one file may have left the shards."""
    hub_folder(tmp_path, weights_of(network()))
    model, other = network(), network()
    assert len(cairn.load(single_folder(tmp_path, weights_of(model)), other).restored) == 6 and same(weights_of(model), weights_of(other))


def test_rules_of_a_wrong_type_are_told(tmp_path: Path) -> None:
    path = one_file(tmp_path, weights_of(network()))
    with pytest.raises(TypeError, match="^rename is {regular expression: replacement}, or a callable, not a list"):
        cairn.load(path, network(), rename=[("a", "b")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^skip is a regular expression, or several, not 3"):
        cairn.load(path, network(), skip=[3])  # type: ignore[list-item]
    assert sorted(cairn.load(path, network(), only=re.compile("^1")).restored) == ["1.bias", "1.weight"]  # type: ignore[arg-type]
    with pytest.raises(cairn.MismatchError, match="nothing of it has the shapes of the module, as [012].weight has not.*see `on_shape`"):
        cairn.load(path, nn.Sequential(nn.Linear(7, 7, bias=False)), on_shape="skip")


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_a_module_that_has_a_say_in_loading_is_given_its_state(dtype: Any, tmp_path: Path) -> None:
    class Hooked(nn.Linear):
        """Keeps its weight transposed on the disk, and a number beside it."""

        def __init__(self, count: int) -> None:
            super().__init__(3, 2, bias=False)
            self.count = count
            self.register_state_dict_post_hook(lambda module, state, prefix, _: state.update({f"{prefix}weight": state[f"{prefix}weight"].detach().t().clone()}))
            self.register_load_state_dict_pre_hook(lambda module, state, prefix, *_: state.update({f"{prefix}weight": state[f"{prefix}weight"].t()}))

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    def make(count: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), Hooked(count))

    model, other = make(7), make(0)
    cairn.save(tmp_path / "one", {"model": model})
    place = other[0].weight.data_ptr()  # type: ignore[index, union-attr]
    report = cairn.load(tmp_path / "one", other, dtype=dtype)
    assert torch.equal(other[1].weight, model[1].weight.to(dtype)) and other[1].count == 7  # type: ignore[index, union-attr]
    assert torch.equal(other[0].weight, model[0].weight.to(dtype)) and (dtype or place == other[0].weight.data_ptr())  # type: ignore[index, union-attr]
    assert sorted(report.restored + report.converted) == ["0.bias", "0.weight", "1._extra_state", "1.weight"] and not report.missing
    cairn.save(tmp_path / "bare", {"model": {"1.weight": model[1].weight.detach().t().contiguous() + 1}})  # type: ignore[index, union-attr]
    report = cairn.load(tmp_path / "bare", other, min_coverage=0.1)
    assert torch.equal(other[1].weight, (model[1].weight + 1).to(dtype)) and other[1].count == 7  # type: ignore[index, union-attr]
    assert sorted(report.missing) == ["0.bias", "0.weight", "1._extra_state"]


def test_what_a_hook_copies_is_loaded(tmp_path: Path) -> None:
    def make() -> Any:
        module = nn.Linear(2, 2)
        module.register_state_dict_post_hook(lambda module, state, prefix, _: state.update({f"{prefix}weight": state[f"{prefix}weight"].detach().clone()}))
        return module

    model, other = make(), make()
    cairn.save(tmp_path / "one", {"model": model})
    assert len(cairn.load(tmp_path / "one", other).restored) == 2
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)


def test_what_load_state_dict_fails_with_is_told(tmp_path: Path) -> None:
    class Fails(nn.Linear):
        def _load_from_state_dict(self, *_: Any) -> None:
            raise KeyError("scale")

    cairn.save(tmp_path / "one", {"model": nn.Linear(2, 2)})
    with pytest.raises(cairn.TornStateError, match="^its load_state_dict failed: KeyError: 'scale'; the module is a mixture now") as told:
        cairn.load(tmp_path / "one", Fails(2, 2))
    assert isinstance(told.value.__cause__, KeyError)


def test_complex_numbers_become_smaller_ones(tmp_path: Path) -> None:
    class Turned(nn.Module):
        def __init__(self, dtype: torch.dtype) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.full((3,), 1 + 2j, dtype=dtype))

    cairn.save(tmp_path / "one", {"model": Turned(torch.complex128)})
    for dtype in (torch.complex64, torch.complex128):
        model = Turned(dtype)
        with torch.no_grad():
            model.turn.zero_()
        report = cairn.load(tmp_path / "one", model)
        assert report.restored + report.converted == ["turn"] and (model.turn == 1 + 2j).all()
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        assert checkpoint["model"]["turn"].torch().dtype == checkpoint.state()["model"]["turn"].dtype == torch.complex128


def test_a_state_of_other_names_is_told_what_there_is(tmp_path: Path) -> None:
    path = one_file(tmp_path, {"w": torch.ones(2)})
    with pytest.raises(cairn.MismatchError, match="x.safetensors: it holds 'model', and nothing of 'w': entries are filled by their names"):
        cairn.load(path, {"w": torch.zeros(2)})
    cairn.load(path, state := {"model": {"w": torch.zeros(2)}})
    assert state["model"]["w"].tolist() == [1.0, 1.0]


def test_numbers_that_are_to_be_scaled_are_not_cast(tmp_path: Path) -> None:
    eighths = {"0.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), "0.bias": torch.ones(4)}
    before = weights_of(other := nn.Sequential(nn.Linear(4, 4)))
    for scale in ("0.weight_scale_inv", "0.input_scale"):
        with pytest.raises(cairn.MismatchError, match=f"0.weight is torch.float32, in the source F8_E4M3, to be multiplied by {scale}, .*: dequantize it first"):
            cairn.load(one_file(tmp_path, eighths | {scale: torch.ones(1)}), other)
    assert same(before, weights_of(other))
    assert cairn.load(one_file(tmp_path, eighths), other).converted == ["0.weight"] and (other[0].weight == 1).all()


def test_only_and_skip_choose_by_names_of_the_source(tmp_path: Path) -> None:
    model = network()
    path = one_file(tmp_path, weights_of(model))
    for rules, taken in (({"only": r"^0\."}, {"0.weight", "0.bias"}), ({"skip": [r"\.bias$", "^1"]}, {"0.weight", "2.weight"}), ({"only": ["0", "2"], "skip": "bias"}, {"0.weight", "2.weight"})):
        other = network()
        report = cairn.load(path, other, **rules)
        assert set(report.restored) == taken and set(report.missing) == set(report.skipped) == set(weights_of(model)) - taken
        assert all(same(tensor, weights_of(model)[name]) == (name in taken) or name.startswith("1") for name, tensor in weights_of(other).items())


def test_what_is_asked_for_is_what_must_be_there(tmp_path: Path) -> None:
    model = network()
    path = one_file(tmp_path, {name: tensor for name, tensor in weights_of(model).items() if name in ("0.bias", "1.weight", "1.bias")})
    assert sorted(cairn.load(path, network(), only=r"^1").restored) == ["1.bias", "1.weight"], "what is in no source is not asked for either"
    assert cairn.load(path, network(), skip=[r"^2\.", "0.weight"]).missing == ["0.weight", "2.weight", "2.bias"]
    told = r"only 20\.0% of what `only` and `skip` leave of the module is in it, and min_coverage asks for 95%; the module lacks 0\.weight; not"
    with pytest.raises(cairn.MismatchError, match=told):
        cairn.load(path, network(), only=r"^0\.")
    with pytest.raises(cairn.MismatchError, match=r"only 20\.5% of what"):
        cairn.load(path, network(), only="^[01]", skip="0.bias", rename={"^x": ""})  # 8 of 39: a new name may have been meant for any of the others


def test_another_shape_is_an_error_that_names_each(tmp_path: Path) -> None:
    path = one_file(tmp_path, weights_of(network(6)))
    before = weights_of(other := network(4))
    with pytest.raises(cairn.MismatchError) as told:
        cairn.load(path, other)
    for name, shapes in {"0.weight": "(4, 4), in the source (6, 4)", "0.bias": "(4,), in the source (6,)", "1.weight": "(4,)", "1.bias": "(4,)", "2.weight": "(3, 4), in the source (3, 6)"}.items():
        assert f"{name} is of shape {shapes}" in str(told.value)
    assert "on_shape" in str(told.value) and same(before, weights_of(other))


def test_another_shape_is_skipped_cut_or_filled_up(tmp_path: Path) -> None:
    large, small = network(6), network(4)
    path = one_file(tmp_path, weights_of(large))
    skipped = network(4)
    report = cairn.load(path, skipped, on_shape="skip", min_coverage=0.0)
    assert report.restored == ["2.bias"] and len(report.skipped) == 5 and same(skipped[2].bias.data, large[2].bias.data)
    cut = network(4)
    report = cairn.load(path, cut, on_shape="slice")
    assert torch.equal(cut[0].weight, large[0].weight[:4]) and torch.equal(cut[2].weight, large[2].weight[:, :4])
    assert "0.weight: (6, 4) of the source into (4, 4)" in report.notes and len(report.restored) == 6
    (tmp_path / "small").mkdir()
    path = one_file(tmp_path / "small", weights_of(small))
    padded = network(6)
    before = weights_of(padded)
    with pytest.raises(cairn.MismatchError, match="only .*% of the module is in it, and min_coverage asks for 95%"):
        cairn.load(path, padded, on_shape="pad")  # what is not filled does not count
    cairn.load(path, padded, on_shape="pad", min_coverage=0.5)
    assert torch.equal(padded[0].weight[:4], small[0].weight) and torch.equal(padded[0].weight[4:], before["0.weight"][4:])
    assert torch.equal(padded[2].weight[:, :4], small[2].weight) and torch.equal(padded[2].weight[:, 4:], before["2.weight"][:, 4:])
    with pytest.raises(cairn.MismatchError, match="0.weight is of shape"):
        cairn.load(path, network(6), on_shape="slice")
    with pytest.raises(ValueError, match='on_shape is "error", "skip", "slice" or "pad", not \'crop\''):
        cairn.load(path, network(6), on_shape="crop")  # type: ignore[arg-type]


def test_values_are_cast_to_what_the_module_holds(tmp_path: Path) -> None:
    model = network()
    half = {name: tensor.bfloat16() for name, tensor in weights_of(model).items()} | {"1.bias": torch.ones(4)}
    other = network()
    report = cairn.load(one_file(tmp_path, half), other)
    assert report.restored == ["1.bias"] and sorted(report.converted) == ["0.bias", "0.weight", "1.weight", "2.bias", "2.weight"]
    assert all(same(tensor, half[name].float()) for name, tensor in weights_of(other).items())


def test_the_module_becomes_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    model = network()
    other = nn.Sequential(*network(), nn.BatchNorm1d(3))
    report = cairn.load(one_file(tmp_path, weights_of(model)), other, dtype=torch.bfloat16, min_coverage=0.5)
    assert {tensor.dtype for name, tensor in other.state_dict().items() if name != "3.num_batches_tracked"} == {torch.bfloat16}
    assert all(torch.equal(other.state_dict()[name], tensor.bfloat16()) for name, tensor in weights_of(model).items())
    assert sorted(report.converted) == sorted(weights_of(model)) and "3.running_mean" in report.missing
    with pytest.raises(TypeError, match="dtype is a floating dtype of torch"):
        cairn.load(tmp_path / "x.safetensors", other, dtype="bfloat16")  # type: ignore[arg-type]


def test_a_failed_load_leaves_the_dtype_alone(tmp_path: Path) -> None:
    other = network()
    with pytest.raises(cairn.MismatchError):
        cairn.load(one_file(tmp_path, {"x": torch.ones(1)}), other, dtype=torch.bfloat16)
    assert other[0].weight.dtype == torch.float32


def test_numbers_of_another_kind_are_not_cast(tmp_path: Path) -> None:
    source = weights_of(network()) | {"0.weight": torch.ones(4, 4, dtype=torch.int8)}
    with pytest.raises(cairn.MismatchError, match="0.weight is torch.float32, in the source I8, which is a number of another kind"):
        cairn.load(one_file(tmp_path, source), network())


def test_too_little_is_an_error(tmp_path: Path) -> None:
    model = network()
    path = one_file(tmp_path, {name: tensor for name, tensor in weights_of(model).items() if name != "0.weight"})
    before = weights_of(other := network())
    with pytest.raises(cairn.MismatchError, match=r"only 62\.\d% of the module is in it, and min_coverage asks for 95%; the module lacks 0\.weight; .*`min_coverage`"):
        cairn.load(path, other)
    assert same(before, weights_of(other))
    assert cairn.load(path, other, min_coverage=0.6).missing == ["0.weight"]
    with pytest.raises(ValueError, match="min_coverage is a share"):
        cairn.load(path, other, min_coverage=95)


@pytest.mark.parametrize("rules", [{"only": "["}, {"skip": ["0", "("]}, {"rename": {"a(": "b"}}, {"rename": {"a": r"\9"}}])
def test_what_is_no_regular_expression_is_named(rules: dict[str, Any], tmp_path: Path) -> None:
    model = network()
    with pytest.raises(ValueError, match=rf"^{next(iter(rules))}: '.*' is no regular expression, or '.*' no replacement for it: "):
        cairn.load(one_file(tmp_path, weights_of(model)), network(), **rules)


def test_patterns_may_come_from_an_iterator(tmp_path: Path) -> None:
    model, other = network(), network()
    report = cairn.load(one_file(tmp_path, weights_of(model)), other, only=iter(["weight", "bias"]))
    assert same(weights_of(model), weights_of(other)) and report.missing == []


@pytest.mark.parametrize("rules", [{}, {"min_coverage": 0.0}, {"only": "nothing", "min_coverage": 0.0}, {"rename": {"^": "x."}, "min_coverage": 0.0}])
def test_nothing_at_all_is_always_an_error(rules: Any, tmp_path: Path) -> None:
    names = weights_of(network()) if "only" in rules or "rename" in rules else {"encoder.w": torch.ones(2)}
    with pytest.raises(cairn.MismatchError, match="no name of it is one of the module's; the module lacks 0.weight, 0.bias.*see `rename`"):
        cairn.load(one_file(tmp_path, names), network(), **rules)


class Tied(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        if tied:
            self.head.weight = self.words.weight


def test_a_source_of_two_for_tied_weights_must_have_one_value(tmp_path: Path) -> None:
    weight = torch.rand(5, 3)
    for first, second in (("words.weight", "head.weight"), ("head.weight", "words.weight")):
        report = cairn.load(one_file(tmp_path, {first: weight, second: weight.clone()}), tied := Tied())
        assert torch.equal(tied.head.weight, weight) and len(report.restored) == 1 and not report.missing + report.unexpected
    path = one_file(tmp_path, {"words.weight": weight, "head.weight": weight + 1})
    before = weights_of(tied)
    with pytest.raises(cairn.MismatchError, match="(words|head).weight and (words|head).weight differ, and are one tensor in the module, .*: leave one out with `skip`"):
        cairn.load(path, tied)
    assert same(before, weights_of(tied))
    cairn.load(path, tied, skip="words")
    assert torch.equal(tied.words.weight, weight + 1)


def test_tied_weights_go_both_ways(tmp_path: Path) -> None:
    cairn.save(tmp_path / "tied", {"model": Tied()})
    one = weights_of(Tied())["words.weight"]
    for number, names in enumerate((["words.weight"], ["head.weight"], ["words.weight", "head.weight"])):
        other = Tied()
        (tmp_path / str(number)).mkdir()
        report = cairn.load(one_file(tmp_path / str(number), {name: one.clone() for name in names}), other)
        assert same(other.words.weight.data, one) and other.head.weight is other.words.weight
        assert report.restored == ["words.weight"]
    untied = Tied(tied=False)
    assert sorted(cairn.load(tmp_path / "tied", untied).restored) == ["head.weight", "words.weight"]
    assert torch.equal(untied.words.weight, untied.head.weight) and untied.words.weight is not untied.head.weight
    assert cairn.load(tmp_path / "tied", Tied()).restored == ["words.weight"]


def test_the_item_is_found_or_named(tmp_path: Path) -> None:
    student, teacher = network(), network()
    cairn.save(tmp_path / "one", {"optimizer": {"w": torch.ones(2)}, "student": student, "run": {"x": 1}})
    other = network()
    cairn.load(tmp_path / "one", other)
    assert same(weights_of(student), weights_of(other))
    cairn.save(tmp_path / "two", {"student": student, "teacher": teacher})
    with pytest.raises(cairn.MismatchError, match=r"it has student, teacher to load weights from: name the item, as in load\(..., item=\)"):
        cairn.load(tmp_path / "two", other)
    cairn.load(tmp_path / "two", other, item="teacher")
    assert same(weights_of(teacher), weights_of(other))


def test_a_state_takes_no_rules(tmp_path: Path) -> None:
    model, other = network(), network()
    cairn.save(tmp_path / "one", {"model": model, "run": (run := cairn.Values(epoch=4))})
    run.epoch = 0
    assert cairn.load(tmp_path / "one", {"model": other, "run": run}).missing == []
    assert run.epoch == 4 and same(weights_of(model), weights_of(other))
    with pytest.raises(cairn.UsageError, match="rename, only: for loading into a module; a state is filled as it was saved"):
        cairn.load(tmp_path / "one", {"model": other}, rename={"a": "b"}, only="x")
    with pytest.raises(cairn.UsageError, match="skip: for loading into a module"):
        cairn.load(tmp_path / "one", skip="x")
    with pytest.raises(TypeError, match="into is a module, or a state"):
        cairn.load(tmp_path / "one", [other])


def test_weights_of_numpy_and_of_bfloat16_in_jax(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy
    model = network(bias=False)
    values = {name: numpy.asarray(tensor) for name, tensor in weights_of(model).items()}
    cairn.save(tmp_path / "one", {"model": values | {"0.weight": jnp.asarray(values["0.weight"], jnp.bfloat16)}})
    other = network(bias=False)
    cairn.load(tmp_path / "one", other)
    assert same(weights_of(other), weights_of(model) | {"0.weight": model[0].weight.detach().bfloat16().float()})


def test_a_module_without_memory_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        empty = network()
    with pytest.raises(cairn.UnstorableError, match=r"0.weight: a tensor on the meta device has no bytes: give it memory, as module.to_empty"):
        cairn.load(one_file(tmp_path, weights_of(network())), empty)


def test_wrapped_modules_and_layouts_are_filled_where_they_lie(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    other = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last))
    cairn.load(one_file(tmp_path, weights_of(model)), other)
    assert same(weights_of(model), weights_of(other.module)) and other.module[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (1, 40), (2, 3, 17), (4, 0, 3), (1, 1, 1, 50)])
def test_blocks_cover_each_element_once(shape: tuple[int, ...]) -> None:
    seen = numpy.zeros(shape, int)
    for block in _transfer.blocks(shape, 8):
        assert seen[block].size <= 8
        seen[block] += 1
    assert (seen == 1).all()


MEASURE = """
import resource, sys, torch, cairn
torch.set_num_threads(1)
model = torch.nn.Sequential(*[torch.nn.Linear(2560, 2560, bias=False, device="meta") for _ in range(11)], torch.nn.Embedding(1, 5000000, device="meta"))
model.to_empty(device="cpu")
for source in sys.argv[1:]:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = cairn.load(source, model)
    assert len(report.restored + report.converted) == 12, report
    assert all(parameter.reshape(-1)[-1] == 3.0 for parameter in model.parameters())
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_torch_counts_what_is_loaded_and_restored(tmp_path: Path) -> None:
    """So that a backward pass over weights that were replaced meanwhile is an error of torch's."""
    model = nn.Linear(3, 3)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        counts = [model.weight._version]
        manager.restore()
        counts.append(model.weight._version)
        cairn.load(manager.directory / "checkpoint-1", into=model)
        counts.append(model.weight._version)
    assert counts[0] < counts[1] < counts[2]


def test_there_is_never_a_second_copy_of_the_model(tmp_path: Path) -> None:
    """300 MiB - as they are, without digests, and cast -: less than 64 MiB more."""
    shapes = {f"{number}.weight": (2560, 2560) for number in range(11)} | {"11.weight": (1, 5000000)}
    for name, dtype in (("whole", torch.float32), ("half", torch.bfloat16)):
        cairn.save(tmp_path / name, {"model": {key: torch.full(shape, 3.0, dtype=dtype) for key, shape in shapes.items()}})
    (tmp_path / "alone.safetensors").hardlink_to(tmp_path / "whole/model.safetensors")
    sources = [str(tmp_path / name) for name in ("whole", "alone.safetensors", "half")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *sources], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 3 and sum(grown) < 64, f"{grown} MiB beside the model"


def test_damage_is_told(tmp_path: Path) -> None:
    path = cairn_folder(tmp_path, weights_of(network()))
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with pytest.raises(cairn.Error, match=r"model\.safetensors") as told:
        cairn.load(path, network())
    assert told.value.offset is not None and bits(torch.zeros(1)) == b"\0" * 4


def flip(file: Path) -> None:
    """A bit of the last tensor."""
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


def test_a_file_of_a_checkpoint_is_checked_like_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = network(), network()
    cairn.save(tmp_path / "one", {"model": model, "copies": weights_of(model)})
    monkeypatch.chdir(tmp_path / "one")
    for file in ("model.safetensors", "training/copies.safetensors", tmp_path / "one/model.safetensors"):
        report = cairn.load(file, other := network())
        assert same(weights_of(model), weights_of(other)) and len(report.restored) == 6 and not report.notes
    assert list(cairn.load("training/copies.safetensors")) == ["copies"] and same(cairn.load("model.safetensors")["model"], weights_of(model))
    assert cairn.load("model.safetensors", {"model": (other := network())}).restored and same(weights_of(model), weights_of(other))
    monkeypatch.chdir(tmp_path / "one/training")
    assert cairn.load("copies.safetensors", network()).restored
    for file in ("model.safetensors", "training/copies.safetensors"):
        flip(tmp_path / "one" / file)
        for load in (lambda path: cairn.load(path), lambda path: cairn.Checkpoint(path).state(), lambda path: cairn.load(path, network(), dtype=torch.float64)):
            with pytest.raises(cairn.CorruptError, match=file) as told:
                load(tmp_path / "one" / file)
        assert isinstance(told.value, cairn.TornStateError), "of the last one a tensor was cast before"
        with pytest.raises(cairn.TornStateError, match="differs from its digest") as told:
            cairn.load(tmp_path / "one" / file, network())
        assert isinstance(told.value, cairn.CorruptError) and told.value.offset is not None


def test_a_shard_of_a_checkpoint_is_its_tensors_alone(tmp_path: Path) -> None:
    model = network(512)
    cairn.save(tmp_path / "one", {"model": model, "run": {"step": 3}}, shard_bytes=6000)
    files = {name: array.info.file for name, array in cairn.Checkpoint(tmp_path / "one")["model"].items()}
    for file in set(files.values()):
        names = {name for name in files if files[name] == file}
        checkpoint = cairn.Checkpoint(tmp_path / "one" / file)
        assert set(checkpoint["model"]) == set(checkpoint.state()["model"]) == names and list(checkpoint) == ["model"]
        assert f"{file}', step 0, {len(names)} tensors" in repr(checkpoint)
        assert set(cairn.load(tmp_path / "one" / file, network(512), min_coverage=0.0).restored) == names
        with pytest.raises(KeyError):
            checkpoint["model"][next(name for name in files if name not in names)]
    with pytest.raises(cairn.MismatchError, match="nothing of run: load the folder"):
        cairn.load(tmp_path / "one" / file, {"run": {"step": 0}})
    assert len(set(files.values())) > 1


def test_a_file_that_cannot_be_checked_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cairn_folder(tmp_path, weights_of(network()))
    save_file(weights_of(network()), path / "added.safetensors")
    (note,) = cairn.load(path / "added.safetensors", network()).notes
    assert "added.safetensors: the bytes were not checked: checkpoint" in note and "has no such file" in note
    (path / "manifest.json").write_text((path / "manifest.json").read_text()[:-5])
    (note,) = cairn.load(path / "model.safetensors", network()).notes
    assert f"the bytes were not checked: as a checkpoint {path} cannot be opened" in note
    assert cairn.load(path / "model.safetensors") and "the bytes were not checked" in caplog.text
    (path / "manifest.json").write_text('{"name": "another program"}')
    assert not cairn.load(path / "model.safetensors", network()).notes


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_named(zipped: bool, tmp_path: Path) -> None:
    torch.save(weights_of(network()), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(cairn.Error, match=f"no safetensors file: it begins like a {'zip archive' if zipped else 'pickle'}, as torch.save"):
        cairn.load(tmp_path / "x.pt", network())
