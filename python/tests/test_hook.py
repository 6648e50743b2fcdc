"""The communication hook: what DDP does with it, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch

import morse
import morse.torch
from morse._watch import ResidualWatch
from support import Crossed, check_same, data, ddp, flat, gradients, left_behind, loss, start, train

CODECS = ["one-bit", "multi-bit:bits=4", "chunk-top-k:k=1/8,chunk=64", "none"]


def setup_module() -> None:
    start()


def test_floats_are_the_mean_of_ddp() -> None:
    plain, _, _ = train("none", steps=5, compress=False)
    model, _, _ = train("none", steps=5)
    difference = (flat(plain) - flat(model)).abs().max().item()
    assert difference <= (0 if morse.size() <= 2 else 1e-6)


@pytest.mark.parametrize("codec", CODECS)
def test_replicas_are_equal_at_every_step(codec: str) -> None:
    start_values: list[torch.Tensor] = []

    def each(step: int, held: Any) -> None:
        check_same(f"the model after step {step}", flat(models[0]))

    models: list[Any] = []
    torch.manual_seed(3)
    model = ddp(Crossed())
    models.append(model)
    held = morse.torch.compress(model, codec, warm_start=2)
    start_values.append(flat(model).clone())
    for step in range(6):
        model.zero_grad()
        loss(model, step, morse.rank()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        each(step, held)
    assert held.step == 6 and held.is_engaged
    assert not torch.equal(flat(model), start_values[0])


@pytest.mark.parametrize("codec", ["one-bit", "none"])
def test_the_drive_changes_no_bit(codec: str) -> None:
    results = [flat(train(codec, overlap=overlap)[0]) for overlap in ("off", "inline", "thread")]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_the_order_of_the_buckets_is_followed_and_nothing_is_lost() -> None:
    torch.manual_seed(4)
    model = ddp(Crossed())
    held = morse.torch.compress(model, "one-bit", warm_start=0)
    first = held.names
    names = [name for name, _ in model.module.named_parameters()]
    contributed = {name: torch.zeros_like(parameter) for name, parameter in model.module.named_parameters()}
    delivered = {name: torch.zeros_like(parameter) for name, parameter in model.module.named_parameters()}
    size, rank = morse.size(), morse.rank()
    for step in range(8):
        for peer in range(size):
            own = torch.autograd.grad(loss(model.module, step, peer), list(model.module.parameters()))
            for name, gradient in zip(names, own):
                contributed[name] += gradient / size
        model.zero_grad()
        loss(model, step, rank).backward()
        for name, parameter in model.module.named_parameters():
            delivered[name] += parameter.grad
    assert held.names != first
    assert set(held.names) == set(first)
    left = left_behind(held)
    place = 0
    for spec in held._specs:
        rest = torch.from_numpy(left[place : place + spec.count]).view(spec.shape)
        assert (contributed[spec.name] - delivered[spec.name] - rest).abs().max() <= 1e-6
        place += spec.count
    if size > 1:
        assert numpy.abs(left).max() > 1e-4


def test_no_sync_exchanges_nothing_until_the_next_pass() -> None:
    torch.manual_seed(6)
    model = ddp(Crossed())
    held = morse.torch.compress(model, "none", warm_start=0)
    with model.no_sync():
        loss(model, 0, morse.rank()).backward()
    assert held.step == 0
    loss(model, 1, morse.rank()).backward()
    assert held.step == 1
    expected = torch.zeros_like(flat(model))
    for rank in range(morse.size()):
        for step in range(2):
            own = torch.autograd.grad(loss(model.module, step, rank), list(model.module.parameters()))
            expected += torch.cat([gradient.reshape(-1) for gradient in own]) / morse.size()
    assert (gradients(model) - expected).abs().max() <= 1e-6
    check_same("the gradient", gradients(model))


class Branches(torch.nn.Module):
    """A model of which each rank may use another part."""

    def __init__(self) -> None:
        super().__init__()
        self.common = torch.nn.Linear(21, 16)
        self.even, self.odd = torch.nn.Linear(16, 3), torch.nn.Linear(16, 3)
        self.unused = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, is_even: bool) -> torch.Tensor:
        return (self.even if is_even else self.odd)(torch.tanh(self.common(x)))


def test_unused_parameters() -> None:
    torch.manual_seed(7)
    model = ddp(Branches(), find_unused_parameters=True)
    held = morse.torch.compress(model, "one-bit", warm_start=1)
    for step in range(4):
        model.zero_grad(set_to_none=True)
        model(data(step, morse.rank()), morse.rank() % 2 == 0).square().mean().backward()
        check_same("the gradient", gradients(model))
    assert held.step == 4
    assert model.module.even.weight.grad.abs().max() > 0
    assert model.module.unused.weight.grad is None or model.module.unused.weight.grad.abs().max() == 0


def test_join_with_uneven_inputs() -> None:
    torch.manual_seed(8)
    model = ddp(Crossed())
    held = morse.torch.compress(model, "one-bit", warm_start=0)
    with model.join():
        for step in range(3 + morse.rank()):
            model.zero_grad()
            loss(model, step, morse.rank()).backward()
    assert held.step == 3 + morse.size() - 1


@pytest.mark.parametrize("options", [
    {"gradient_as_bucket_view": True}, {"static_graph": True}, {"gradient_as_bucket_view": True, "static_graph": True},
    {"find_unused_parameters": True}, {"bucket": 1 << 20}])
def test_views_a_static_graph_and_other_buckets_change_no_bit(options: dict[str, Any]) -> None:
    """Also where the buckets are rebuilt at another step, or never."""
    assert torch.equal(flat(train("one-bit")[0]), flat(train("one-bit", **options)[0]))


class Mixed(torch.nn.Module):
    """A model of two types of values."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = torch.nn.Linear(21, 16), torch.nn.Linear(16, 5).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(torch.tanh(self.narrow(x)).double())


def test_values_of_several_types() -> None:
    model, held, _ = train("one-bit", make=Mixed)
    check_same("the model", flat(model))
    assert held.step == 8
    exact, _, _ = train("none", make=Mixed, steps=3)
    plain, _, _ = train("none", make=Mixed, steps=3, compress=False)
    assert (flat(exact) - flat(plain)).abs().max() < 1e-6


def test_two_models_in_one_backward_pass() -> None:
    torch.manual_seed(9)
    pair = [ddp(Crossed()), ddp(Crossed())]
    held = [morse.torch.compress(model, "one-bit", warm_start=1, name=f"model {index}") for index, model in enumerate(pair)]
    for step in range(4):
        for model in pair:
            model.zero_grad()
        (loss(pair[0], step, morse.rank()) + loss(pair[1], step + 50, morse.rank())).backward()
        for model in pair:
            check_same("the gradient", gradients(model))
    assert [state.step for state in held] == [4, 4]


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch without compile")
def test_a_compiled_model() -> None:
    """The compiler cuts the model at the buckets and calls the hook as ever; its backward pass may round otherwise."""
    torch.manual_seed(3)
    model = torch.nn.parallel.DistributedDataParallel(Crossed(), bucket_cap_mb=1)
    held = morse.torch.compress(model, "one-bit", warm_start=1)
    compiled = torch.compile(model, backend="aot_eager")
    for step in range(4):
        model.zero_grad()
        loss(compiled, step, morse.rank()).backward()
        check_same("the gradient", gradients(model))
    assert held.step == 4


def test_clipping_is_the_same_everywhere() -> None:
    torch.manual_seed(10)
    model = ddp(Crossed())
    morse.torch.compress(model, "one-bit", warm_start=0)
    loss(model, 0, morse.rank()).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    check_same("the norm", norm)
    assert gradients(model).norm() <= 1.01e-3


def test_nan_of_one_rank_is_seen_by_all_and_leaves_no_trace() -> None:
    torch.manual_seed(11)
    model = ddp(Crossed())
    held = morse.torch.compress(model, "one-bit", warm_start=0)
    for step in range(3):
        model.zero_grad()
        value = loss(model, step, morse.rank())
        if step == 1 and morse.rank() == morse.size() - 1:
            value = value * float("nan")
        value.backward()
        found = gradients(model)
        check_same("where NaN is", found.isnan())
        assert found.isnan().any() == (step == 1)
    assert numpy.isfinite(held._stream.residual()).all()


@pytest.mark.skipif(not hasattr(torch.cuda.amp, "GradScaler"), reason="torch without GradScaler")
def test_zeros_instead_of_nan_if_asked() -> None:
    torch.manual_seed(11)
    model = ddp(Crossed())
    morse.torch.compress(model, "one-bit", warm_start=0, sends_nan=False)
    value = loss(model, 0, morse.rank())
    (value * float("nan") if morse.rank() == morse.size() - 1 else value).backward()
    if morse.size() > 1:
        assert not gradients(model).isnan().any()


def test_a_sparse_gradient_is_refused() -> None:
    torch.manual_seed(12)
    net = torch.nn.Sequential(torch.nn.Embedding(30, 8, sparse=True), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    model = ddp(net)
    morse.torch.compress(model, "one-bit")
    if morse.size() > 1:
        with pytest.raises(Exception, match="sparse=False"):
            model(torch.tensor([[1, 2], [3, 4]])).sum().backward()


def test_normalizations_and_embeddings_travel_as_floats_where_they_are_vectors() -> None:
    net = torch.nn.Sequential(torch.nn.Embedding(9, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
    held = morse.torch.compress(ddp(net), "one-bit")
    assert {spec.name: spec.is_plain for spec in held._specs} == {
        "0.weight": False, "1.weight": True, "1.bias": True, "2.weight": False, "2.bias": True}
    assert not any(spec.is_plain for spec in morse.torch.compress(ddp(Crossed()), "one-bit")._specs)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(morse.MorseError, match="DistributedOptimizer"):
        morse.torch.compress(Crossed(), "one-bit")  # type: ignore[arg-type]
    model = ddp(Crossed())
    with pytest.raises(morse.MorseError, match="did you mean 'one-bit'"):
        morse.torch.compress(model, "one-bitt")
    with pytest.raises(morse.MorseError, match="follows the model"):
        morse.torch.compress(model, "lazy")
    with pytest.raises(morse.MorseError, match="auto, thread, inline, off"):
        morse.torch.compress(model, "one-bit", overlap="always")
    with pytest.raises(morse.MorseError, match="number of steps"):
        morse.torch.compress(model, "one-bit", warm_start=-1)
    with pytest.raises(morse.MorseError, match="auto, coded, plain"):
        morse.torch.compress(model, "one-bit", vectors="some")
    held = morse.torch.compress(model, "one-bit", warm_start=0)
    assert not held.is_engaged
    with pytest.raises(morse.MorseError, match="takes one, once"):
        morse.torch.compress(model, "one-bit")


def test_the_report_says_whether_codes_were_used() -> None:
    _, held, _ = train("one-bit", steps=30, warm_start=0)
    text = morse._report.sentence("net", held._stream)
    if morse.size() == 1:
        assert "one rank" in text
    else:
        assert "30 exchanges" in text and "one-bit" in text and "times less" in text
        # The first exchanges have other owners, whose codes are a few bytes longer or shorter.
        assert abs(held.counters().sent - 30 * held._stream.predicted_bytes()) <= 200


def test_residuals_that_are_too_large_are_told() -> None:
    watch = ResidualWatch("one-bit")
    assert [watch.add(2.0 + step, 1.0) for step in range(9)].count(None) == 8
    assert watch.add(20, 1) is None
    healthy = ResidualWatch("one-bit")
    assert all(healthy.add(3 + 0.01 * step, 1) is None for step in range(50))
    shrinking = ResidualWatch("one-bit")
    assert all(shrinking.add(10 - 0.1 * step, 1) is None for step in range(50))
    assert watch.add(1, float("nan")) is None
    assert not ResidualWatch("chunk-top-k").is_needed


def test_residuals_are_watched() -> None:
    _, held, _ = train("one-bit", steps=41, warm_start=0)
    assert len(held._watch._ratios) == (0 if morse.size() == 1 else 5)
