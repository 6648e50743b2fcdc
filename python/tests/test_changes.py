"""Codecs that bring a change of the model: sketches and largest values."""

from __future__ import annotations

from typing import Any, Optional

import numpy
import pytest
import torch

import morse
import morse.torch
from support import Crossed, check_same, ddp, flat, gradients, loss, start

SKETCH = "fetch-sgd:k=1/8,columns=1/4"


def setup_module() -> None:
    start()


def train(
    codec: str, steps: int = 8, *, first: int = 0, momentum: float = 0.9, state: Optional[dict[str, Any]] = None,
    parameters: Optional[dict[str, torch.Tensor]] = None, rate: float = 0.05,
) -> tuple[Any, Any]:
    """Trains a model of DDP by plain descent; returns it, and what compress made."""
    torch.manual_seed(5)
    net = Crossed()
    if parameters is not None:
        net.load_state_dict(parameters)
    model = ddp(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    held = morse.torch.compress(model, codec, optimizer=optimizer, momentum=momentum)
    if state is not None:
        held.load_state_dict(state)
    for step in range(first, first + steps):
        optimizer.zero_grad()
        loss(model, step, morse.rank()).backward()
        check_same(f"the gradient of step {step}", gradients(model))
        optimizer.step()
    return model, held


def test_all_values_are_plain_descent() -> None:
    model, _ = train("true-top-k:k=1/1")
    torch.manual_seed(5)
    plain = ddp(Crossed())
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9)
    for step in range(8):
        optimizer.zero_grad()
        loss(plain, step, morse.rank()).backward()
        optimizer.step()
    assert torch.allclose(flat(model), flat(plain), atol=1e-5)


@pytest.mark.parametrize("codec", [SKETCH, "top-k:k=1/8", "sketched-sgd:k=1/8,columns=1/4"])
def test_a_model_learns_from_few_values(codec: str) -> None:
    def far(model: Any) -> float:
        with torch.no_grad():
            return float(sum(loss(model, step, rank) for step in range(4) for rank in range(morse.size())))

    model, held = train(codec, steps=1)
    before = far(model)
    sent = int((gradients(model) != 0).sum())
    assert 0 < sent <= flat(model).numel() / 8 * morse.size() + 64
    model, held = train(codec, steps=60)
    assert held.is_engaged and far(model) < 0.7 * before
    check_same("the model", flat(model))


@pytest.mark.parametrize("codec", [SKETCH, SKETCH + ",recovery=zero,window=2", "top-k:k=1/8"])
@pytest.mark.parametrize("at", [1, 5])
def test_a_resumed_run_is_the_unbroken_one(codec: str, at: int) -> None:
    whole, _ = train(codec)
    model, held = train(codec, steps=at)
    saved, parameters = held.state_dict(), model.module.state_dict()
    again, _ = train(codec, steps=8 - at, first=at, state=saved, parameters=parameters)
    assert torch.equal(flat(whole), flat(again))
    without, _ = train(codec, steps=8 - at, first=at, parameters=parameters)
    assert not torch.equal(flat(whole), flat(without))


def test_what_is_not_finite_is_seen_by_all_and_leaves_no_trace() -> None:
    torch.manual_seed(5)
    model = ddp(Crossed())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    held = morse.torch.compress(model, SKETCH, optimizer=optimizer)
    for step in range(3):
        optimizer.zero_grad()
        (loss(model, step, morse.rank()) * (float("nan") if step == 1 and morse.rank() == morse.size() - 1 else 1)).backward()
        assert bool(gradients(model).isnan().all()) == (step == 1)
        if step != 1:
            optimizer.step()
    assert bool(flat(model).isfinite().all()) and held.counters().non_finite_groups == 1


def test_what_cannot_be_is_refused() -> None:
    model = ddp(Crossed())
    plain = torch.optim.SGD(model.parameters(), lr=0.1)
    for part, arguments in {
        "optimizer=": {},
        "not Adam": {"optimizer": torch.optim.Adam(model.parameters())},
        "momentum=0": {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)},
        "warm_start is 0": {"optimizer": plain, "warm_start": 5},
        "overlap is 'off'": {"optimizer": plain, "overlap": "thread"},
    }.items():
        with pytest.raises(morse.MorseError, match=part):
            morse.torch.compress(model, SKETCH, **arguments)
    with pytest.raises(morse.MorseError, match="needs sums"):
        morse.all_reduce(numpy.ones(9, numpy.float32), "ones", SKETCH)
    with pytest.raises(morse.MorseError, match="needs sums"):
        morse.torch.DistributedOptimizer(plain, model.module.named_parameters(), codec=SKETCH)
    with pytest.raises(morse.MorseError, match="needs sums"):
        morse.torch.LocalSteps(model.module, plain, codec=SKETCH)
    _, held = train(SKETCH, steps=1)
    state = held.state_dict()
    if morse.size() == 1:
        with pytest.raises(morse.MorseError, match="laid out for 1 ranks"):
            morse.torch.merge([state], 2)
    state["memory"] = state["memory"][:1]
    # In backward(), where torch 1 makes a RuntimeError of it.
    with pytest.raises(RuntimeError, match="not that of"):
        train(SKETCH, steps=1, state=state)

