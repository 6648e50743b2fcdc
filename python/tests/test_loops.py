"""Loops without DDP: DistributedOptimizer, LocalSteps, broadcasts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import morse
import morse.torch
from support import Crossed, check_same, data, flat, loss, start, train


def setup_module() -> None:
    start()


def run(
    codec: str, *, overlap: str = "off", passes: int = 1, steps: int = 6, warm_start: int = 0, synchronize: bool = False,
) -> torch.Tensor:
    torch.manual_seed(5 + 100 * morse.rank())
    net = Crossed()
    morse.torch.broadcast_parameters(net.state_dict())
    inner = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    optimizer = morse.torch.DistributedOptimizer(
        inner, net.named_parameters(), codec, overlap=overlap, backward_passes_per_step=passes, warm_start=warm_start)
    schedule = torch.optim.lr_scheduler.ExponentialLR(inner, 0.9)
    for step in range(steps):
        optimizer.zero_grad()
        for _ in range(passes):
            (loss(net, step, morse.rank()) / passes).backward()
        if synchronize:
            optimizer.synchronize()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        optimizer.step()
        schedule.step()
        check_same("the model", flat(net))
    return flat(net)


def test_the_optimizer_takes_the_mean() -> None:
    found = run("none")
    torch.manual_seed(5)
    net = Crossed()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for step in range(6):
        optimizer.zero_grad()
        sum(loss(net, step, rank) for rank in range(morse.size())).div(morse.size()).backward()  # type: ignore[union-attr]
        optimizer.step()
        schedule.step()
    assert (found - flat(net)).abs().max() < 1e-5


def test_the_drive_and_the_passes_change_nothing() -> None:
    results = [run("one-bit", overlap=overlap) for overlap in ("off", "inline", "thread")]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    # Halves of the same gradient add up exactly.
    assert torch.equal(results[0], run("one-bit", passes=2))


def test_warm_start_and_clipping() -> None:
    assert torch.equal(run("one-bit", warm_start=3), run("one-bit")) == (morse.size() == 1)
    assert not torch.equal(run("one-bit", synchronize=True), run("one-bit"))


def test_the_optimizer_says_what_is_wrong() -> None:
    net = Crossed()
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(morse.MorseError, match="not among named_parameters"):
        morse.torch.DistributedOptimizer(inner, list(net.named_parameters())[1:])
    optimizer = morse.torch.DistributedOptimizer(inner, net.named_parameters())
    with pytest.raises(morse.MorseError, match="closures"):
        optimizer.step(lambda: None)
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    sparse = morse.torch.DistributedOptimizer(torch.optim.SGD(embedding.parameters(), lr=0.1), embedding.named_parameters())
    with pytest.raises(Exception, match="sparse=False"):
        embedding(torch.tensor([1, 2])).sum().backward()
        sparse.step()


def test_the_state_of_an_optimizer_is_broadcast() -> None:
    torch.manual_seed(morse.rank())
    net = Crossed()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1 * (1 + morse.rank()))
    loss(net, 0, morse.rank()).backward()
    optimizer.step()
    morse.torch.broadcast_parameters(net.named_parameters())
    morse.torch.broadcast_optimizer_state(optimizer)
    check_same("the model", flat(net))
    check_same("a moment", next(iter(optimizer.state.values()))["exp_avg"])
    assert optimizer.param_groups[0]["lr"] == 0.1


def reference(steps: int, every: int, rate: float, momentum: float) -> torch.Tensor:
    """Local steps of all ranks in one process, in plain code."""
    torch.manual_seed(21)
    common = Crossed()
    nets = [Crossed() for _ in range(morse.size())]
    for net in nets:
        net.load_state_dict(common.state_dict())
    inner = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
    moment = [torch.zeros_like(parameter) for parameter in common.parameters()]
    for step in range(steps):
        for rank, (net, optimizer) in enumerate(zip(nets, inner)):
            optimizer.zero_grad()
            loss(net, step, rank).backward()
            optimizer.step()
        if (step + 1) % every == 0:
            with torch.no_grad():
                for index, x in enumerate(common.parameters()):
                    change = sum(x - list(net.parameters())[index] for net in nets) / morse.size()
                    moment[index] = momentum * moment[index] + change
                    x -= rate * (change + momentum * moment[index])
                for net in nets:
                    net.load_state_dict(common.state_dict())
    return flat(common)


@pytest.mark.parametrize("every, rate, momentum", [(1, 1.0, 0.0), (3, 0.7, 0.5)])
def test_local_steps(every: int, rate: float, momentum: float) -> None:
    torch.manual_seed(21)
    net = Crossed()
    local = morse.torch.LocalSteps(
        net, torch.optim.SGD(net.parameters(), lr=0.1), steps=every, outer_rate=rate, outer_momentum=momentum, codec="none")
    for step in range(6):
        local.zero_grad()
        loss(net, step, morse.rank()).backward()
        local.step()
    check_same("the model", flat(net))
    assert (flat(net) - reference(6, every, rate, momentum)).abs().max() < 1e-5
    assert local.exchange_count == 6 // every


def test_local_steps_with_one_bit_are_equal_everywhere() -> None:
    torch.manual_seed(22)
    net = Crossed()
    local = morse.torch.LocalSteps(net, torch.optim.SGD(net.parameters(), lr=0.1), steps=2)
    for step in range(8):
        local.zero_grad()
        loss(net, step, morse.rank()).backward()
        local.step()
        if step % 2 == 1:
            check_same("the model", flat(net))
    with pytest.raises(morse.MorseError, match="from 1"):
        morse.torch.LocalSteps(net, torch.optim.SGD(net.parameters(), lr=0.1), steps=0)
    assert data(0, 0).shape == (6, 21)
    assert train("none", steps=1)[1].step == 1


def test_a_resumed_optimizer_is_the_unbroken_one() -> None:
    def train_on(net: torch.nn.Module, first: int, steps: int, saved: Any = None) -> Any:
        inner = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
        optimizer = morse.torch.DistributedOptimizer(inner, net.named_parameters(), "one-bit", overlap="off", warm_start=2)
        if saved:
            optimizer.load_state_dict(saved[0])
            optimizer.load_exchange_state_dict(saved[1])
        for step in range(first, first + steps):
            optimizer.zero_grad()
            loss(net, step, morse.rank()).backward()
            optimizer.step()
        return optimizer.state_dict(), optimizer.exchange_state_dict()

    for at in (1, 2, 4):
        torch.manual_seed(31)
        whole, broken = Crossed(), Crossed()
        broken.load_state_dict(whole.state_dict())
        train_on(whole, 0, 7)
        saved = train_on(broken, 0, at)
        train_on(broken, at, 7 - at, saved)
        assert torch.equal(flat(whole), flat(broken))


def test_resumed_local_steps_are_the_unbroken_ones() -> None:
    def train_on(net: torch.nn.Module, first: int, steps: int, saved: Any = None) -> Any:
        inner = torch.optim.SGD(net.parameters(), lr=0.1)
        local = morse.torch.LocalSteps(net, inner, steps=2, outer_momentum=0.5)
        if saved:
            net.load_state_dict(saved[1])
            local.load_state_dict(saved[0])
        for step in range(first, first + steps):
            local.zero_grad()
            loss(net, step, morse.rank()).backward()
            local.step()
        return local.state_dict(), {name: value.clone() for name, value in net.state_dict().items()}

    torch.manual_seed(32)
    whole, broken, again = Crossed(), Crossed(), Crossed()
    broken.load_state_dict(whole.state_dict())
    train_on(whole, 0, 8)
    # In the middle of a round, too, where ranks have models of their own.
    saved = train_on(broken, 0, 5)
    morse.torch.broadcast_parameters(again.state_dict())
    train_on(again, 5, 3, saved)
    assert torch.equal(flat(whole), flat(again))
