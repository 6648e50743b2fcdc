"""The same start on all ranks, for loops without DDP."""

from __future__ import annotations

import io
from typing import Any, Iterable, Mapping, Union

import torch

from .._library import MorseError
from .._world import world

Named = Union[Mapping[str, Any], Iterable[tuple[str, torch.Tensor]]]


def broadcast_parameters(parameters: Named, root: int = 0) -> None:
    """Copies tensors of ``root`` to all ranks, in place: ``model.state_dict()`` or ``model.named_parameters()``. Collective.

    Raises:
      MorseError: If names or shapes differ between ranks.
    """
    items = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
    tensors = [(name, value) for name, value in items if isinstance(value, torch.Tensor)]
    joined = world()
    given = repr([(name, list(value.shape), str(value.dtype)) for name, value in tensors])
    joined.check_equal("what broadcast_parameters is given", given.encode())
    for _, value in tensors:
        if value.numel() == 0:
            continue
        with torch.no_grad():
            host = value.detach().cpu().contiguous()
            joined.broadcast(host.data_ptr(), host.numel() * host.element_size(), root)
            if joined.rank != root and host.data_ptr() != value.data_ptr():
                value.copy_(host)


def broadcast_optimizer_state(optimizer: torch.optim.Optimizer, root: int = 0) -> None:
    """Copies the state of the optimizer of ``root`` (momenta, counters, rates) to all ranks. Collective."""
    buffer = io.BytesIO()
    joined = world()
    if joined.rank == root:
        torch.save(optimizer.state_dict(), buffer)
    data = joined.broadcast_bytes(buffer.getvalue(), root)
    if joined.rank != root:
        state = torch.load(io.BytesIO(data))
        groups = [len(group["params"]) for group in optimizer.param_groups]
        given = [len(group["params"]) for group in state["param_groups"]]
        if groups != given:
            raise MorseError(f"the optimizer of rank {root} has groups of {given} parameters, and this one of {groups}")
        optimizer.load_state_dict(state)
