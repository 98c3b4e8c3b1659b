"""verify_resume, in a program and on a script: a run that resumes exactly passes, and of one that does not the leaf is named."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import resumable
import torch
from test_docs import ROOT, train_script

import cairn
from cairn import _begin, _compare
from cairn._trial import Trial

SCRIPT = Path(__file__).with_name("resumable.py")
SHOWS = """import sys
import beside
print(__name__, __file__, sys.argv, sys.path[0], sys.modules["__main__"].sys is sys, [name for name in ("numpy", "torch", "cairn") if name in sys.modules])
import numpy.random, torch
print(numpy.random.__spec__.loader.__class__, torch.__loader__.__class__)
print("numbers:", beside.random.random(), numpy.random.rand(), torch.rand(1).item())
beside.random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
print("seeded:", beside.random.random(), numpy.random.rand(), torch.rand(1).item())
"""


def found(make_state: Callable[[], Any], train_step: Callable[[Any], Any], k: int = 4) -> cairn.ResumeDiffers:
    with pytest.raises(cairn.ResumeDiffers) as caught:
        cairn.verify_resume(make_state, train_step, k)
    return caught.value


def test_a_run_that_resumes_exactly_passes(tmp_path: Path) -> None:
    proof = cairn.verify_resume(resumable.make_state, resumable.train, 4, folder=tmp_path)  # 6 batches are an epoch
    assert (proof.steps, proof.resumed_at, proof.new_processes) == (8, 4, True)
    assert proof.leaves > 20 and proof.environment["torch"] == torch.__version__ and proof.environment["torch.threads"] == 1
    assert "the same bits: 8 steps" in str(proof) and "world_size 1" in str(proof)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.long
def test_a_run_that_seeds_nothing_begins_as_the_reference_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert cairn.verify_resume(resumable.unseeded, resumable.train, 4).new_processes
    assert "PYTHONHASHSEED" not in os.environ
    assert not cairn.verify_resume(lambda: resumable.unseeded(), resumable.train, 4).new_processes


@pytest.mark.long
@pytest.mark.parametrize("make_state", [resumable.scaled_by_luck, resumable.scaled_by_order])
def test_what_a_resumed_process_would_draw_anew_is_found(make_state: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    differs = found(make_state, resumable.train_scaled, 2)
    assert differs.step == 3 and "without any resume" not in str(differs)


@pytest.mark.long
def test_arrays_that_come_back_as_new_ones() -> None:
    pytest.importorskip("jax")
    assert cairn.verify_resume(resumable.make_jax_state, resumable.train_jax, 2).leaves == 4


@pytest.mark.long
def test_random_numbers_that_are_not_in_the_state() -> None:
    differs = found(resumable.without_numbers, resumable.train)
    assert differs.step == 4 and differs.differences[0].path == "process-rng/process/torch/state"
    assert "byte" in str(differs) and "cairn.RNG()" in differs.hints[0]
    assert not any("numpy" in each.path for each in differs.differences), "nothing draws from numpy's"


@pytest.mark.long
def test_a_loader_that_forgets_where_it_was() -> None:
    differs = found(resumable.plain_loader, resumable.train)
    assert differs.step == 5 and "optimizer/" in str(differs.differences) and "cairn.data(loader)" in str(differs)
    assert "data: a DataLoader keeps no position" in differs.hints[0]


def test_a_counter_outside_of_the_state() -> None:
    differs = found(resumable.make_state, resumable.train_by_counter)
    assert differs.step == 5
    first = differs.differences[0]
    assert (first.path, first.was, first.now) == ("optimizer/param_groups/0/lr", "0.002", "0.01")
    assert "after step 5 optimizer/param_groups/0/lr was 0.002, is 0.01" in str(differs) and "a counter" in str(differs)


@pytest.mark.long
def test_a_run_that_is_never_the_same_is_told_apart() -> None:
    differs = found(resumable.make_state, resumable.train_unrepeatably, 1)
    assert differs.step == 1 and "without any resume" in str(differs) and differs.differences[0].path == "loss"


def test_functions_that_no_other_process_can_import(caplog: pytest.LogCaptureFixture) -> None:
    def good() -> dict[str, Any]:
        return resumable.make_state()

    before = torch.get_rng_state()
    proof = cairn.verify_resume(good, resumable.train, 4)
    assert not proof.new_processes and "cannot be imported" in proof.notes[0] and "cannot be imported" in caplog.text
    assert torch.equal(before, torch.get_rng_state()), "the caller's numbers stay its own"

    count = 0

    def hidden(state: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        return resumable.update(state, torch.full((4, 8), float(count)))

    assert "without any resume" in str(found(good, hidden)), "a counter that make_state does not set"


@pytest.mark.long
def test_what_fails_in_another_process_is_told() -> None:
    with pytest.raises(cairn.Error, match=r"(?s)the reference run failed:.*the data is not there"):
        cairn.verify_resume(resumable.make_state, resumable.train_with_error, 1)
    with pytest.raises(cairn.Error, match="must go on, over as many epochs"):
        cairn.verify_resume(resumable.make_state, resumable.train_shortly, 4)
    with pytest.raises(ValueError, match="at least 1"):
        cairn.verify_resume(resumable.make_state, resumable.train, 0)


def test_an_unguarded_script_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text("import cairn\ndef make(): return {}\ndef train(state): return 0.0\ncairn.verify_resume(make, train, 1)\n")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment(), check=False)
    assert ended.returncode == 1 and 'behind if __name__ == "__main__"' in ended.stderr and "before it told anything" in ended.stderr


# ---------------------------------------------------------------------------------------------------------------- comparing


def differences(tmp_path: Path, was: Any, now: Any, ignore: tuple[str, ...] = ()) -> list[str]:
    for name, state in (("was", was), ("now", now)):
        cairn.save(tmp_path / name, state, replace=True)
    with _compare.Checkpoint(tmp_path / "was") as old, _compare.Checkpoint(tmp_path / "now") as new:
        return [str(each) for each in _compare.differing(old, new, ignore)]


def test_leaves_are_compared_bit_by_bit(tmp_path: Path) -> None:
    weights = torch.arange(600_000, dtype=torch.float32).reshape(300, 2000)
    other = weights.clone()
    other[250, 3] = -1.5
    assert differences(tmp_path, {"model": {"w": weights}}, {"model": {"w": weights.clone()}}) == []
    told = differences(tmp_path, {"model": {"w": weights}}, {"model": {"w": other}})
    assert told == ["model/w at [250, 3] was 500003.0 (0x48f42460), is -1.5 (0xbfc00000)"]
    zero, minus = torch.zeros(2), -torch.zeros(2)
    assert "at [0] was 0.0 (0x00000000), is -0.0 (0x80000000)" in differences(tmp_path, {"m": {"w": zero}}, {"m": {"w": minus}})[0]
    assert differences(tmp_path, {"m": {"w": torch.tensor(math.nan)}}, {"m": {"w": torch.tensor(math.nan)}}) == []
    assert "F32 (2,), is F64 (2,)" in differences(tmp_path, {"m": {"w": zero}}, {"m": {"w": zero.double()}})[0]
    assert "F32 (2,), is F32 (1, 2)" in differences(tmp_path, {"m": {"w": zero}}, {"m": {"w": zero[None]}})[0]
    assert "at [1] was 1.0" in differences(tmp_path, {"m": [torch.ones(2).bfloat16()]}, {"m": [torch.tensor([1, 2]).bfloat16()]})[0]
    assert "at [1] was (1+0j)" in differences(tmp_path, {"m": [torch.ones(2) + 0j]}, {"m": [torch.tensor([1, 2j])]})[0]


def test_plain_values_are_compared_and_come_first(tmp_path: Path) -> None:
    was = {"m": {"w": torch.zeros(1)}, "v": {"a": 1, "b": [0.0, {"c": b"abc"}], "d": numpy.float32(1.0), "e": (1, 2), "gone": None, "same": math.nan}}
    now = {"m": {"w": torch.ones(1)}, "v": {"a": 1.0, "b": [-0.0, {"c": b"abd"}], "d": numpy.float64(1.0), "e": (1, 2, 3), "same": math.nan}}
    told = differences(tmp_path, was, now)
    assert told[:3] == ["v/a was 1, is 1.0", "v/b/0 was 0.0, is -0.0", "v/b/1/c at byte 2 was 99, is 100"]
    assert told[3].startswith("v/d was Tagged") and told[4:6] == ["v/e was (1, 2), is (1, 2, 3)", "v/gone was None, is not there"]
    assert told[6].startswith("m/w at [0]") and len(told) == 7
    assert [line.split()[0] for line in differences(tmp_path, was, now, (r"^v/[a-d]", "gone"))] == ["v/e", "m/w"]


# ----------------------------------------------------------------------------------------------------------------- a script


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(cairn.__file__).parents[1]), str(SCRIPT.parent))), **more}


def verify(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "cairn", "verify-resume", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(TMPDIR=str(tmp_path)), check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.long
def test_a_script_that_resumes_exactly(tmp_path: Path) -> None:
    status, output = verify(tmp_path, str(SCRIPT), "--steps", "9", "--", "good", "20")
    assert status == 0 and "the same bits" in output and "of step 9" in output and "world_size 1" in output, output
    left = [path.name for path in tmp_path.iterdir() if path.name == "ckpts" or path.name.startswith("cairn-")]
    assert not left, "neither the script's folder nor a scratch folder is left behind"


def test_the_script_of_the_first_page_resumes_exactly(tmp_path: Path) -> None:
    """It seeds torch alone; of Python's and numpy's generators it saves what is there."""
    (tmp_path / "train.py").write_text(train_script("+"))
    status, output = verify(tmp_path, "train.py", "--steps", "70")
    assert status == 0 and "of step 70" in output, output


@pytest.mark.long
def test_an_example_resumes_exactly(tmp_path: Path) -> None:
    status, output = verify(tmp_path, str(ROOT / "examples/train_gpt.py"), "--steps", "12", "--", str(ROOT / "README.md"), "--every", "4")
    assert status == 0 and "of step 12" in output, output


@pytest.mark.long
def test_a_script_runs_as_it_does_by_itself(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/beside.py").write_text("import random\n")
    (tmp_path / "inner/show.py").write_text(SHOWS)
    own = subprocess.run([sys.executable, "inner/show.py", "-v", "x"], capture_output=True, text=True, cwd=tmp_path, check=True)
    runs = [subprocess.run([sys.executable, _begin.__file__, seed, "inner/show.py", "-v", "x"], capture_output=True, text=True, cwd=tmp_path, check=True) for seed in "00"]
    as_it_is, numbers = zip(*(run.stdout.split("numbers:") for run in (own, *runs)), strict=True)
    assert as_it_is[0] and set(as_it_is) == {as_it_is[0]}
    assert numbers[1] == numbers[2] and numbers[0] != numbers[1]
    assert "seeded: 0.8444218515250481 0.5488135039273248 0.4962565" in numbers[0] and len({each.split("seeded:")[1] for each in numbers}) == 1


@pytest.mark.long
def test_a_script_that_forgets(tmp_path: Path) -> None:
    status, output = verify(tmp_path, str(SCRIPT), "--kill-at", "3", "--folder", "kept", "--", "counter", "8")
    assert status == 1 and "/ckpts/run: the bits differ at step 4: model/0.weight at [0, 0] was" in output and "a counter" in output, output
    assert "both runs are in kept" in output and (tmp_path / "kept" / "reference.log").exists()
    assert "without any resume" not in output


@pytest.mark.long
def test_leaves_that_may_differ_are_ignored(tmp_path: Path) -> None:
    status, output = verify(tmp_path, str(SCRIPT), "--kill-at", "2", "--ignore", "^clock/", "--", "clock", "5")
    assert status == 0, output
    status, output = verify(tmp_path, str(SCRIPT), "--kill-at", "2", "--ignore", "(")
    assert status == 2 and "--ignore" in output, output


def test_a_script_that_cannot_be_tried(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("print('no manager')")
    (tmp_path / "wrong.py").write_text("raise SystemError('out of cheese')")
    status, output = verify(tmp_path, "other.py")
    assert status == 3 and "made no checkpoint" in output, output
    status, output = verify(tmp_path, "wrong.py")
    assert status == 3 and "the reference run: status 1" in output and "out of cheese" in output, output
    for arguments in (["missing.py"], ["other.py", "--steps", "0"], ["other.py", "--steps", "3", "--kill-at", "3"], []):
        assert verify(tmp_path, *arguments)[0] == 2, arguments


def test_the_program_is_there_by_the_name_of_the_package(tmp_path: Path) -> None:
    listed = subprocess.run([sys.executable, "-m", "cairn", "ls", "--json", "-C", str(tmp_path)], capture_output=True, text=True, env=environment(), check=False)
    direct = subprocess.run([str(Path(cairn.__file__).with_name("bin") / "cairn"), "ls", "--json", "-C", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (listed.returncode, listed.stdout) == (direct.returncode, direct.stdout) and json.loads(listed.stdout) is not None


def test_what_the_environment_asks_for(tmp_path: Path) -> None:
    trial = Trial.of({"CAIRN_DIRECTORY_PREFIX": str(tmp_path), "CAIRN_STOP_AT_STEP": "5"})
    assert trial.place("/a/ckpts") == tmp_path / "a/ckpts"
    assert trial.place("ckpts/../x") == tmp_path / os.path.abspath("x").lstrip("/")
    assert trial.place(tmp_path / "a/ckpts") == tmp_path / "a/ckpts"
    assert [trial.wants(step) for step in (4, 5, 6)] == [False, True, True]
    assert Trial.of({}).place("ckpts") == Path("ckpts") and not Trial.of({}).wants(10)
    with pytest.raises(cairn.UsageError, match="CAIRN_KILL_AT_STEP=soon"):
        Trial.of({"CAIRN_KILL_AT_STEP": "soon"})
