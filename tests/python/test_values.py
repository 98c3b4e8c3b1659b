"""cairn.Values: attributes that are saved and written back."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from cairn._values import LoadedValues, Values


def test_attributes_are_the_state() -> None:
    run = Values(epoch=0, best=math.inf)
    run.epoch += 1
    assert run.state_dict() == {"epoch": 1, "best": math.inf}
    assert list(run) == ["epoch", "best"] and "best" in run
    assert repr(run) == "Values(epoch=1, best=inf)"


def test_a_load_writes_back_in_place() -> None:
    run = Values(epoch=0, losses=[1, 2], seen={"a": 1, "z": 7}, kind=None)
    losses, seen = run.losses, run.seen
    assert run.load_state_dict({"epoch": 3, "losses": [5], "seen": {"a": 2}, "kind": "x"}) == LoadedValues([], [], ["not in the checkpoint, left as they are: seen/z"])
    assert (run.epoch, run.kind, losses, seen) == (3, "x", [5], {"a": 2, "z": 7})
    assert run.losses is losses and run.seen is seen
    run.load_state_dict(run.state_dict())
    assert (losses, seen) == ([5], {"a": 2, "z": 7}), "its own state does not empty it"


def test_what_differs_is_told_and_kept() -> None:
    run = Values(epoch=0, best=1.0)
    notes = ["not in the checkpoint, left as they are: best", "only in the checkpoint, added: old"]
    assert run.load_state_dict({"epoch": 2, "old": 7}) == LoadedValues(missing=["best"], unexpected=["old"], notes=notes)
    assert run.state_dict() == {"epoch": 2, "best": 1.0, "old": 7}
    assert run.old == 7


@pytest.mark.parametrize("name", ["_hidden", "__class__", "state_dict", "load_state_dict"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Values(**{name: 1})
    run = Values(epoch=1)
    with pytest.raises(ValueError, match=name):
        run.load_state_dict({"epoch": 2, name: 1})
    assert run.epoch == 1


def test_a_misspelt_name_is_no_new_value() -> None:
    run = Values(epoch=0)
    with pytest.raises(AttributeError, match="no 'epcoh' among epoch"):
        run.epcoh = 1
    with pytest.raises(AttributeError, match="no 'epcoh' among epoch"):
        print(run.epcoh)
    with pytest.raises(AttributeError, match="stays"):
        del run.epoch


def test_it_can_be_copied() -> None:
    run = Values(epoch=4)
    for other in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert other.state_dict() == {"epoch": 4}
