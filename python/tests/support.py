"""What the tests have in common."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Optional

import numpy
import torch
import torch.distributed as dist

import morse
import morse.torch

TIMEOUT = 60
_numbers = itertools.count()


def start() -> morse.World:
    """The world, with gloo."""
    torch.set_num_threads(1)
    morse.torch.init_process_group(timeout=TIMEOUT)
    return morse.init()


def check_same(what: str, values: torch.Tensor) -> None:
    """Fails unless a tensor is the same, bit for bit, on all ranks."""
    morse.init().check_equal(what, values.detach().contiguous().view(-1).numpy().tobytes())


class Crossed(torch.nn.Module):
    """A perceptron whose layers are registered in another order than that of the forward pass."""

    def __init__(self, inputs: int = 21, width: int = 34, outputs: int = 5) -> None:
        super().__init__()
        self.last = torch.nn.Linear(width, outputs)
        self.first = torch.nn.Linear(inputs, width)
        self.middle = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))


def ddp(net: torch.nn.Module, bucket: int = 2000, **options: Any) -> torch.nn.parallel.DistributedDataParallel:
    """A model in DDP with buckets of so many bytes, the first one, too."""
    usual = dist._DEFAULT_FIRST_BUCKET_BYTES
    dist._DEFAULT_FIRST_BUCKET_BYTES = bucket
    try:
        return torch.nn.parallel.DistributedDataParallel(net, bucket_cap_mb=bucket / (1 << 20), **options)
    finally:
        dist._DEFAULT_FIRST_BUCKET_BYTES = usual


def data(step: int, rank: int, count: int = 6, inputs: int = 21) -> torch.Tensor:
    """Samples of a step and a rank."""
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(1000 * step + rank))


def loss(model: torch.nn.Module, step: int, rank: int) -> torch.Tensor:
    """A loss whose gradients differ between ranks and steps."""
    outputs = model(data(step, rank))
    return (outputs - 0.3 * (rank + 1)).square().mean()


def flat(model: torch.nn.Module) -> torch.Tensor:
    """All parameters."""
    return torch.cat([parameter.detach().reshape(-1).float() for parameter in model.parameters()])


def gradients(model: torch.nn.Module) -> torch.Tensor:
    """All gradients; zeros for those that are not there."""
    return torch.cat([
        (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).reshape(-1).float()
        for parameter in model.parameters()])


def train(
    codec: str, steps: int = 8, *, seed: int = 5, overlap: str = "off", warm_start: int = 2, state: Optional[dict[str, Any]] = None,
    first: int = 0, parameters: Optional[dict[str, torch.Tensor]] = None, optimizer_state: Optional[dict[str, Any]] = None,
    each: Optional[Callable[[int, Any], None]] = None, bucket: int = 2000, compress: bool = True, make: Any = Crossed,
    **options: Any,
) -> tuple[Any, Any, torch.optim.Optimizer]:
    """Trains a model of DDP; returns it, what compress made, and the optimizer."""
    torch.manual_seed(seed)
    net = make()
    if parameters is not None:
        net.load_state_dict(parameters)
    model = ddp(net, bucket, **options)
    held = None
    if compress:
        held = morse.torch.compress(model, codec, warm_start=warm_start, overlap=overlap)
        if state is not None:
            held.load_state_dict(state)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    if optimizer_state is not None:
        optimizer.load_state_dict(optimizer_state)
    for step in range(first, first + steps):
        optimizer.zero_grad()
        loss(model, step, morse.rank()).backward()
        optimizer.step()
        if each is not None:
            each(step, held)
    return model, held, optimizer


def left_of(stream: Any) -> numpy.ndarray[Any, Any]:
    """The sum over the ranks of all residuals of a stream, in the order of its layout; collective."""
    left = numpy.zeros(stream.count, numpy.float32)
    own, owner, place = stream.residual(1), stream.residual(2), 0
    if own.size:
        left += own
    for start, end in stream.owned_ranges() if owner.size else []:
        left[start:end] += owner[place : place + end - start]
        place += end - start
    return morse.all_reduce(left, f"left {next(_numbers)}", "none", op="sum")  # type: ignore[no-any-return]


def left_behind(held: Any) -> numpy.ndarray[Any, Any]:
    """The same of what compress made."""
    return left_of(held._stream)
