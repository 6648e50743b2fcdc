"""Buckets on an accelerator, as far as they can be tried without one: a backend whose copies happen late."""

from __future__ import annotations

from typing import Any, Callable, Optional

import pytest
import torch

import morse.torch
from morse.torch import _buffers
from support import check_same, ddp, flat, loss, start, train


def setup_module() -> None:
    start()


class Late:
    """A device: what is put on a stream is done when somebody waits for it, in order; before that, copies hold NaN."""

    log: list[str] = []

    class Stream:
        def __init__(self) -> None:
            self.work: list[Callable[[], None]] = []

        def wait_stream(self, other: Any) -> None:
            Late.log.append("wait for the backward pass")

        def run(self, count: Optional[int] = None) -> None:
            """Does the first ``count`` pieces of work."""
            for _ in range(len(self.work) if count is None else count):
                self.work.pop(0)()

    class Event:
        def record(self, stream: "Late.Stream") -> None:
            self.stream, self.left = stream, len(stream.work)

        def query(self) -> bool:
            return self.left == 0

        def synchronize(self) -> None:
            Late.log.append("wait for a copy")
            self.stream.run(min(self.left, len(self.stream.work)))
            self.left = 0

    @staticmethod
    def current_stream() -> "Late.Stream":
        return Late.Stream()

    class stream:  # noqa: N801 - torch.cuda.stream
        def __init__(self, stream: "Late.Stream") -> None:
            self.stream = stream

        def __enter__(self) -> None:
            Late.log.append("on the stream of copies")

        def __exit__(self, *error: object) -> None:
            pass


class LatePinned(_buffers.Pinned):
    """Copies to the host that are under way until somebody waits."""

    def _copy(self, destination: torch.Tensor, source: torch.Tensor) -> None:
        destination.fill_(float("nan"))
        kept = source.detach().clone()

        def arrive() -> None:
            destination.copy_(kept)

        self.copies.work.append(arrive)

    def future(self) -> Any:
        return torch.futures.Future()


def late_staging(bucket: torch.Tensor, copies: "Late.Stream" = Late.Stream()) -> _buffers.Staging:
    return LatePinned(Late, copies, pin=False)


def test_copies_that_are_late_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = flat(train("one-bit")[0])
    Late.log.clear()
    monkeypatch.setattr("morse.torch._hook.staging", late_staging)
    found = flat(train("one-bit")[0])
    assert torch.equal(found, expected)
    assert "wait for a copy" in Late.log and "wait for the backward pass" in Late.log
    check_same("the model", found)


def test_nothing_waits_before_the_last_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morse.torch._hook.staging", late_staging)
    torch.manual_seed(1)
    from support import Crossed

    model = ddp(Crossed())
    held = morse.torch.compress(model, "one-bit", warm_start=0)
    waits: list[tuple[bool, int]] = []
    usual = held._write

    def write(stream: Any, is_last: bool) -> None:
        before = Late.log.count("wait for a copy")
        usual(stream, is_last)
        waits.append((is_last, Late.log.count("wait for a copy") - before))

    monkeypatch.setattr(held, "_write", write)
    for step in range(3):
        loss(model, step, morse.torch.rank()).backward()
    assert any(not is_last for is_last, _ in waits), "the model has one bucket only"
    assert all(count == 0 for is_last, count in waits if not is_last)


def test_values_of_the_host_are_not_copied() -> None:
    values = torch.zeros(5)
    held = _buffers.staging(values)
    held.fetch(values)
    assert held.host().data_ptr() == values.data_ptr()
    halves = torch.arange(5).to(torch.float64)
    converted = _buffers.staging(halves)
    converted.fetch(halves)
    converted.host().add_(1)
    converted.put_back()
    assert halves.tolist() == [1, 2, 3, 4, 5]
