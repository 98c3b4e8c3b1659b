"""What a restore tells: what became of each leaf, and what differs from the process that saved."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import cairn
from cairn import _environment


def state(**more: Any) -> dict[str, Any]:
    return {"model": nn.Linear(3, 2), "run": cairn.Values(epoch=0)} | more


def saved(folder: Path, given: dict[str, Any] | None = None, **options: Any) -> Path:
    run = folder / "run"
    with cairn.CheckpointManager(run, given or state(), mode="sync", **options) as manager:
        manager.save(3, force=True)
    return run


def restored(run: Path, given: dict[str, Any] | None = None, allow_missing: bool = False, **options: Any) -> cairn.Restored:
    with cairn.CheckpointManager(run, given or state(), **options) as manager:
        return manager.restore(allow_missing=allow_missing)


def test_all_is_well_where_nothing_differs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = saved(tmp_path)
    with caplog.at_level(logging.INFO, "cairn"):
        report = restored(run).report
    assert sorted(report.restored) == ["model/bias", "model/weight", "run/epoch"]
    assert report.differences == {} and list(report.lines()) == [] and not [each for each in caplog.records if each.levelno > logging.INFO]
    assert repr(report) == "Report(3 restored)" and str(report).startswith("3 leaves restored, 32 bytes in 0.")
    assert "checkpoint-3 restored: 3 leaves restored" in caplog.text


def test_leaves_by_what_became_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = saved(tmp_path, state(gone={"a": 1, "b": torch.zeros(2)}))
    own = state(added={"c": 2})
    own["model"].extra = nn.Parameter(torch.ones(1))
    with pytest.raises(cairn.MismatchError, match="extra"):
        restored(run, own)
    report = restored(run, own, allow_missing=True).report
    assert report.missing == ["model/extra"] and sorted(report.unexpected) == ["gone/a", "gone/b"] and report.new == ["added"]
    assert repr(report) == "Report(3 restored, 1 missing, 2 unexpected, 1 new)"
    for line in ("missing: model/extra", "unexpected: gone/", "new: added"):
        assert line in caplog.text and line in str(report)


def test_items_that_were_not_asked_for_are_not_told(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    given = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), "run": cairn.Values(epoch=1), "net": {"a": torch.ones(1), "b": 1}}
    run = saved(tmp_path, given)
    with cairn.CheckpointManager(run, given) as manager:
        report = manager.restore(items=["model"]).report
        assert sorted(report.restored) == ["model/bias", "model/weight"] and report.unexpected == [] and list(report.lines()) == []
    with cairn.CheckpointManager(run, given | {"model": nn.Linear(3, 2, bias=False)}) as manager:
        assert manager.restore(items=["model", "run"]).report.unexpected == ["model/bias"], "what of an item that was asked for has no place is told"


def optimized(*groups: dict[str, Any], kind: Any = torch.optim.AdamW, **options: Any) -> dict[str, Any]:
    """A state whose optimizer has these groups, each of a layer."""
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in groups))
    optimizer = kind([{"params": layer.parameters()} | group for layer, group in zip(model, groups, strict=True)], **options)
    return {"model": model, "optimizer": optimizer}


def resumed(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The notes."""
    return restored(saved(folder, old), new).report.notes


def test_hyperparameters_that_are_not_what_the_code_says_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = optimized({}, lr=1e-2, weight_decay=0.1), optimized({}, lr=1e-5, weight_decay=0, betas=(0.9, 0.95))
    notes = resumed(tmp_path, old, new)
    assert notes == ["optimizer: as saved, not as it was made: lr 0.01, made with 1e-05; betas (0.9, 0.999), made with (0.9, 0.95); weight_decay 0.1, made with 0"]
    assert notes[0] in caplog.text and new["optimizer"].param_groups[0]["lr"] == 1e-2


def test_hyperparameters_of_several_groups_are_told_by_group(tmp_path: Path) -> None:
    notes = resumed(tmp_path, optimized({}, {"lr": 0.5}, lr=0.1), optimized({}, {"lr": 0.25}, lr=0.1))
    assert notes == ["optimizer: as saved, not as it was made: group 1: lr 0.5, made with 0.25"]


@pytest.mark.parametrize("is_tensor", [False, True])
def test_of_a_scheduled_rate_the_first_one_is_compared(is_tensor: bool, tmp_path: Path) -> None:
    def make(rate: float) -> dict[str, Any]:
        state = optimized({}, lr=torch.tensor(rate) if is_tensor else rate)
        return state | {"scheduler": torch.optim.lr_scheduler.StepLR(state["optimizer"], 1, 0.5)}

    old = make(0.25)
    old["optimizer"].step()
    old["scheduler"].step()
    assert float(old["optimizer"].param_groups[0]["lr"]) == 0.125
    assert resumed(tmp_path, old, make(0.25)) == []
    assert resumed(tmp_path / "other", old, make(0.75)) == ["optimizer: as saved, not as it was made: lr 0.25, made with 0.75"]
    assert resumed(tmp_path / "none", old, optimized({}, lr=0.25)) == []


def test_a_schedule_that_is_not_what_the_code_says_is_told(tmp_path: Path) -> None:
    schedulers = torch.optim.lr_scheduler

    def make(steps: int, first: int) -> dict[str, Any]:
        state = optimized({}, lr=0.1)
        parts = [schedulers.LinearLR(state["optimizer"], total_iters=first), schedulers.CosineAnnealingLR(state["optimizer"], T_max=steps)]
        return state | {"scheduler": schedulers.SequentialLR(state["optimizer"], parts, [first])}

    old = make(100, 10)
    for _ in range(20):
        old["optimizer"].step()
        old["scheduler"].step()
    assert resumed(tmp_path / "same", old, make(100, 10)) == []
    new = make(200, 5)
    told = "milestones [10], made with [5]; 0.total_iters 10, made with 5; 1.T_max 100, made with 200"
    assert resumed(tmp_path / "other", old, new) == [f"scheduler: as saved, not as it was made: {told}"]
    assert new["scheduler"].state_dict() == old["scheduler"].state_dict()


def test_a_schedule_of_one_s_own_tells_nothing(tmp_path: Path) -> None:
    class Own(torch.optim.lr_scheduler.StepLR):
        seen = 0

    def make(seen: int) -> dict[str, Any]:
        state = optimized({}, lr=0.1)
        scheduler = Own(state["optimizer"], 5)
        scheduler.seen = seen
        return state | {"scheduler": scheduler}

    assert resumed(tmp_path, make(7), make(0)) == []


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR", "ReduceLROnPlateau"])
def test_what_schedulers_change_is_not_told_at_an_ordinary_resume(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"CyclicLR": {"base_lr": 0.1, "max_lr": 0.5}, "OneCycleLR": {"max_lr": 0.5, "total_steps": 9}, "ReduceLROnPlateau": {"patience": 0}}[name]

    def make() -> dict[str, Any]:
        state = optimized({}, lr=0.1)
        return state | {"scheduler": getattr(torch.optim.lr_scheduler, name)(state["optimizer"], **options)}

    old = make()
    for _ in range(3):
        old["optimizer"].step()
        old["scheduler"].step(*([1.0] if name == "ReduceLROnPlateau" else []))
    made = make()
    assert old["optimizer"].param_groups[0]["lr"] != made["optimizer"].param_groups[0]["lr"]
    assert resumed(tmp_path, old, made) == []


def test_settings_are_told_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1", "--hub-token", "xyzzy", "--bf16"])
    threads = torch.get_num_threads()
    run = saved(tmp_path, config={"model": {"layers": 2, "width": 8}, "wandb_api_key": "one"})
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.2", "--hub-token", "plugh", "--steps=9"])
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setattr(_environment, "world_size", lambda: 4)
    monkeypatch.setattr(torch, "__version__", "9.9")
    torch.set_num_threads(threads + 1)
    torch.use_deterministic_algorithms(True)
    try:
        report = restored(run, config={"model": {"layers": 3, "width": 8}, "wandb_api_key": "two"}).report
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    differences = dict(report.differences)
    assert differences.pop("torch")[1] == "9.9"
    assert differences == {
        "world_size": (1, 4),
        "torch.threads": (threads, threads + 1),
        "torch.deterministic_algorithms": (False, True),
        "PYTHONHASHSEED": (None, "7"),
        "arguments.--lr": ("0.1", "0.2"),
        "arguments.--bf16": (True, None),
        "arguments.--steps": (None, "9"),
        "config.model.layers": (2, 3),
    }
    assert "config.model.layers was 2, is 3" in caplog.text and "PYTHONHASHSEED was not set, is '7'" in caplog.text
    written = "".join(path.read_text() for path in (run / "checkpoint-3").rglob("*.json"))
    assert "xyzzy" not in written and '"one"' not in written, "no secret reaches the disk"
    assert repr(report) == "Report(3 restored, 9 settings differ)"


def test_arguments_are_told_by_option() -> None:
    command = ["train.py", "data.txt", "--lr=0.1", "-n", "-1", "--flag", "--api-key", "abc", "--password=xyz", "--tag", "a", "--tag", "b", "optim.lr=3", "auth_token=q"]
    assert _environment.arguments(command) == {
        "script": "train.py",
        "1": "data.txt",
        "--lr": "0.1",
        "-n": "-1",
        "--flag": True,
        "--api-key": "(redacted)",
        "--password": "(redacted)",
        "--tag": ["a", "b"],
        "optim.lr": "3",
        "auth_token": "(redacted)",
    }
    assert _environment.arguments(["-c"]) == {"script": "-c"}
    assert _environment.arguments(["x", "--secret", "a", "--secret", "b"])["--secret"] == ["(redacted)", "(redacted)"]


def test_secrets_are_redacted_wherever_they_stand() -> None:
    config = {"hub": {"token": "t", "tokens": 4096, "max_tokens": "many"}, "PASSWORD": "p", "credentials": ["a", ""], "width": "8", "secret": None, "key": b"k"}
    assert _environment.redact(config) == {
        "hub": {"token": "(redacted)", "tokens": 4096, "max_tokens": "many"},
        "PASSWORD": "(redacted)",
        "credentials": ["(redacted)", ""],
        "width": "8",
        "secret": None,
        "key": "(redacted)",
    }


@pytest.mark.parametrize(
    "name", "api_key hf_token accessToken AWS_SECRET_ACCESS_KEY APIKey apikey key2 db.pwd api-key passwd client-secrets HFToken HFtoken token wandb.api_key".split()
)
def test_names_of_secrets(name: str) -> None:
    assert _environment.redact({name: "x"}) == {name: "(redacted)"}
    assert "x1y" not in str(_environment.arguments(["train.py", f"--{name}", "x1y", f"--{name}=x1y", f"{name}=x1y"]))


@pytest.mark.parametrize("name", "tokenizer tokenizer_path special_tokens max_tokens n_keys monkey keyboard Tokenizer maxTokens keyed secretary".split())
def test_names_of_no_secrets(name: str) -> None:
    assert _environment.redact({name: "x"}) == {name: "x"}
    assert _environment.arguments(["train.py", f"--{name}", "x"]) == {"script": "train.py", f"--{name}": "x"}


def test_passwords_in_urls_are_redacted() -> None:
    urls = ["postgres://me:s3cr@t@host/db", "redis://:s3cret@host", "https://host:80/a@b", "see http://a:s3cret@b and http://c:s3cret@d"]
    told = ["postgres://me:(redacted)@host/db", "redis://:(redacted)@host", "https://host:80/a@b", "see http://a:(redacted)@b and http://c:(redacted)@d"]
    assert _environment.redact({"data": urls, "store": urls[0]}) == {"data": told, "store": told[0]}
    assert "s3cr" not in str(_environment.arguments(["train.py", *urls, "http://a:s3cret@b?c=d", "--db", urls[0]]))
    config = {"store": urls[0]}
    _environment.override(config, {"store": "postgres://me:(redacted)@other/db"}, lambda key: True)
    assert config == {"store": urls[0]}, "a value without its password is nothing to go on with"


def test_what_is_redacted_on_one_side_is_not_compared() -> None:
    was, now = {"tokenizer": "(redacted)", "key": "(redacted)", "token": None}, {"tokenizer": "gpt2", "key": None, "token": "(redacted)"}
    assert _environment.differences(was, now) == {"key": ("(redacted)", None), "token": (None, "(redacted)")}


def test_objects_in_a_config_are_the_same_in_each_run() -> None:
    def config() -> dict[str, Any]:
        return {"f": lambda: 0, "g": [object()], "s": {"b", "a"}, "t": "meet at 0x10"}

    first, second = config(), config()
    told = _environment.redact(first)
    assert repr(first["f"]) != repr(second["f"]) and _environment.redact(second) == told
    assert told["f"].endswith("config.<locals>.<lambda>>") and told["g"] == ["<object object>"]
    assert told["s"] == ["a", "b"] and told["t"] == "meet at 0x10"


def test_names_of_differing_that_do_nothing_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"model": {"layers": 2}, "hub_token": "x", "lr": 0.1}
    saved(tmp_path, config=config, differing={"model": "error", "model.layers": "keep", "lr": "override"})
    assert "differing" not in caplog.text
    saved(tmp_path / "other", config=config, differing={"hub_token": "error", "model.depth": "error"})
    assert caplog.text.count("differing names") == 2
    assert "hub_token, which is called like a secret" in caplog.text and "model.depth, which the config does not have" in caplog.text
    saved(tmp_path / "facts", differing={"torch": "override", "world_size": "keep", "NCCL_ALGO": "error"})
    assert caplog.text.count("differing names") == 3 and "torch, which no config can override" in caplog.text


@pytest.mark.parametrize("differing", ["error", {"torch.threads": "error"}, {"torch": "error"}, {"torch": "error", "torch.cudnn": "keep"}])
def test_versions_and_switches_may_be_errors(differing: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    threads = torch.get_num_threads()
    run = saved(tmp_path)
    try:
        torch.set_num_threads(threads + 1)
        own = state()
        with pytest.raises(cairn.MismatchError, match=f"the environment differs: torch.threads was {threads} and is {threads + 1} now; `differing` says that this is an error"):
            restored(run, own, differing=differing)
        assert "differing names" not in caplog.text
        for kept in ("keep", "override", {"torch": "error", "torch.threads": "keep"}, {"world_size": "error"}):
            report = restored(run, differing=kept).report
            assert report.differences == {"torch.threads": (threads, threads + 1)}
        config = {"torch": {"threads": 3}}  # whose key it is, then
        run = saved(tmp_path / "own", config=config)
        torch.set_num_threads(threads)
        assert restored(run, config=config, differing={"torch": "error"}).report.differences == {"torch.threads": (threads + 1, threads)}
    finally:
        torch.set_num_threads(threads)


def test_a_package_that_is_imported_later_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optax", SimpleNamespace(__version__="9.9"))
    run = saved(tmp_path)
    monkeypatch.delitem(sys.modules, "optax")
    assert restored(run, differing="error").report.differences == {"optax": ("9.9", None)}
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    with pytest.raises(cairn.MismatchError, match="NCCL_ALGO was None and is 'Ring' now"):
        restored(run, differing={"NCCL_ALGO": "error"})


def test_numbers_that_json_has_not(tmp_path: Path) -> None:
    config = {"clip": math.inf, "low": [-math.inf, 1.0], "none": math.nan}
    run = saved(tmp_path, config=dict(config))
    provenance = json.loads((run / "checkpoint-3/training/provenance.json").read_text())
    recorded = json.loads(provenance["config"], parse_constant=pytest.fail)
    assert recorded == {"clip": "inf", "low": ["-inf", 1.0], "none": "nan"}
    assert restored(run, config=dict(config)).report.differences == {}
    now: dict[str, Any] = {"clip": 1, "low": [-2.0, 1.0], "none": None}
    told = {"config.clip": ("inf", 1), "config.low": (["-inf", 1.0], [-2.0, 1.0]), "config.none": ("nan", None)}
    assert restored(run, config=now, differing="override").report.differences == told
    assert now["clip"] == math.inf and math.isnan(now["none"]) and now["low"] == [-math.inf, 1.0]
    text: dict[str, Any] = {"clip": "none", "low": ["low", 1.0], "none": "0"}
    restored(run, config=text, differing="override")
    assert text == {"clip": "inf", "low": ["-inf", 1.0], "none": "nan"}


def test_differences_of_mappings() -> None:
    was = {"same": 1, "kind": 1, "truth": 1, "list": (1, 2), "only": 3, "in": {"a": 1, "b": [1]}}
    now = {"same": 1, "kind": 1.0, "truth": True, "list": [1, 2], "in": {"a": 1, "b": [2]}, "new": None}
    assert _environment.differences(was, now) == {"kind": (1, 1.0), "truth": (1, True), "only": (3, None), "in.b": ([1], [2])}


def test_a_new_run_and_a_long_report(tmp_path: Path) -> None:
    fresh = restored(tmp_path / "new")
    assert repr(fresh) == "Restored(step 0, a new run)" and repr(fresh.report) == "Report(nothing was there)"
    run = saved(tmp_path, {"many": {str(index): index for index in range(30)}, "run": cairn.Values(epoch=1)})
    result = restored(run, {"run": cairn.Values(epoch=0)})
    assert repr(result).startswith("Restored(step 3, '") and repr(result).endswith("checkpoint-3', [run], Report(1 restored, 30 unexpected))")
    assert len(repr(result)) < 300 and "and 22 more" in str(result.report)


def test_a_damaged_checkpoint_that_was_passed_over_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = saved(tmp_path)
    with cairn.CheckpointManager(run, state(), mode="sync") as manager:
        manager.restore()
        manager.save(4, force=True)
    manifest = run / "checkpoint-4" / "model.safetensors"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes()[:-1])
    result = restored(run)
    assert result.step == 3 and result.report.skipped_damaged == 1 and "1 damaged passed over" in repr(result)
    assert "1 newer checkpoint(s) passed over" in caplog.text
