"""Checkpoints: a resumed run is the unbroken one, and nothing is lost when the number of ranks changes."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch

import morse
import morse.torch
from support import Crossed, ddp, flat, left_behind, loss, start, train


def setup_module() -> None:
    start()


@pytest.mark.parametrize("codec", ["one-bit", "multi-bit:bits=2,range=2", "chunk-top-k:k=1/8,chunk=64"])
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_resumed_run_is_the_unbroken_one(codec: str, at: int) -> None:
    """Also where the buckets are rebuilt (after two steps) and where the warm start ends (after two)."""
    whole, _, _ = train(codec, steps=8)
    saved: dict[str, Any] = {}
    model, held, optimizer = train(codec, steps=at)
    file = io.BytesIO()
    torch.save({"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "morse": held.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file)
    again, resumed, _ = train(
        codec, steps=8 - at, first=at, state=saved["morse"], parameters=saved["model"], optimizer_state=saved["optimizer"])
    assert resumed.step == 8
    assert torch.equal(flat(whole), flat(again))
    if morse.size() > 1 and at == 5:
        without, _, _ = train(
            codec, steps=3, first=5, parameters=saved["model"], optimizer_state=saved["optimizer"], warm_start=0)
        assert not torch.equal(flat(whole), flat(without))


def test_saving_changes_nothing() -> None:
    whole, _, _ = train("one-bit")
    saving, _, _ = train("one-bit", each=lambda step, held: held.state_dict() and None)
    assert torch.equal(flat(whole), flat(saving))


def test_the_state_is_plain() -> None:
    _, held, _ = train("one-bit")

    def is_plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(is_plain(item) for item in value)
        return type(value) in (int, float, str, torch.Tensor)

    assert is_plain(held.state_dict())


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_another_number_of_ranks_keeps_the_sum(ranks: int) -> None:
    _, held, _ = train("one-bit")
    own = held.state_dict()
    file = io.BytesIO()
    torch.save(own, file)
    states = [torch.load(io.BytesIO(data)) for data in morse.init().gather_bytes(file.getvalue())]
    merged = morse.torch.merge(list(reversed(states)), ranks)
    assert [state["rank"] for state in merged] == list(range(ranks))
    left = torch.from_numpy(left_behind(held))
    if ranks > 1 and morse.size() > 1:
        assert (sum(state["residual"] for state in merged) - left).abs().max() <= 1e-6
    if ranks == morse.size():
        model = ddp(Crossed())
        other = morse.torch.compress(model, "one-bit", warm_start=2)
        other.load_state_dict(merged[morse.rank()])
        loss(model, 8, morse.rank()).backward()
        assert other.step == own["step"] + 1


def test_what_does_not_fit_is_said() -> None:
    _, held, _ = train("one-bit", steps=3)
    state = held.state_dict()
    with pytest.raises(morse.MorseError, match="before the first step"):
        held.load_state_dict(state)

    def refused(match: str, **changes: Any) -> None:
        other = morse.torch.compress(ddp(Crossed()), "one-bit")
        with pytest.raises(morse.MorseError, match=match):
            other.load_state_dict({**copy.deepcopy(state), **changes})

    refused("merge", ranks=morse.size() + 1)
    refused("the state is that of rank", rank=morse.rank() + 1)
    refused("has not", names=["nothing"] + state["names"][1:])
    refused("version", version=7)
    with pytest.raises(morse.MorseError, match="every rank"):
        morse.torch.merge([{**state, "ranks": 7}], 2)
