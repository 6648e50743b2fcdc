"""What makes a model of DistributedDataParallel exchange its gradients by a codec."""

from __future__ import annotations

from typing import Optional

import torch
import torch.distributed as dist

from .. import _library
from .._library import USAGE, MorseError
from .._stream import choice
from .._timeline import Timeline
from .._world import world
from ._hook import Compression, hook

WARM_START = 100
"""Steps with floats at the start, where nothing is known of the length of the run."""


def compress(
    model: torch.nn.parallel.DistributedDataParallel, codec: str = "one-bit", *, warm_start: Optional[int] = None,
    steps: Optional[int] = None, start: str = "none", overlap: str = "auto", topology: str = "auto", vectors: str = "auto",
    sends_nan: bool = True, seed: int = 1, optimizer: Optional[torch.optim.Optimizer] = None, momentum: float = 0.9,
    name: Optional[str] = None, timeline: Optional[str] = None,
) -> "Compression":
    """Exchanges the gradients of a DDP model by a codec with error feedback; to be called once, before the first step.

    Args:
      model: The model in DDP, on the same process group as ``init_process_group`` makes.
      codec: As for ``train --codec``: "one-bit", "multi-bit:bits=4", "chunk-top-k:k=1/64", "none", …. Sketches and largest values
        ("fetch-sgd:k=1/100,columns=1/50", "true-top-k:k=1/100", "top-k:k=1/100") bring a change of the model, zero at most places,
        in place of the gradient: they need ``optimizer``.
      warm_start: The number of first steps in which ``start`` is used; a tenth of ``steps`` if they are given, otherwise 100. 0 for
        none, and with a codec that brings a change.
      steps: The length of the run, if it is known.
      start: The codec of the warm start: "none" for floats, or one with more bits ("multi-bit:bits=2,range=2").
      overlap: "thread" drives the exchange while autograd computes, "inline" at each bucket, "off" at the last one; "auto" is
        "thread" between hosts where a core is spare, otherwise "off".
      topology: "flat", "hierarchical" (the ranks of a host add their gradients before they encode), or "auto".
      vectors: "plain": the gradients of vectors (biases, normalizations) travel as floats; "coded": like others; "auto": plain
        unless all layers are linear.
      sends_nan: Whether a row that is not finite on one rank is NaN on all, so that ``GradScaler`` and other checks skip a step
        on all ranks or on none; otherwise zeros arrive, and the residual keeps what was there.
      seed: Of codes with random numbers.
      optimizer: Of a codec that brings a change: what will apply it, ``torch.optim.SGD`` without momentum. Its rate at that time counts.
      momentum: Of a codec that brings a change, inside its memory; others leave momentum to the optimizer.
      name: Of the model, in reports.
      timeline: A file for each rank in Chrome's trace format, "%d" in its name being the rank: what is computed and exchanged, and when.

    Returns:
      What is kept between steps; ``state_dict()`` saves it.

    Raises:
      MorseError: If the codec or an option is wrong; in ``backward()`` if a rank does not come, models differ or a gradient is
        sparse (torch 1 makes a RuntimeError of it, with the same sentence).

    Cost: a copy of the gradient on the way in, and one out; memory of 8 bytes for each parameter.
    """
    if not isinstance(model, torch.nn.parallel.DistributedDataParallel):
        raise MorseError(
            f"compress takes a DistributedDataParallel model, not {type(model).__name__}; without DDP use "
            "morse.torch.DistributedOptimizer")
    if not dist.is_initialized():
        raise MorseError("call morse.torch.init_process_group() before DistributedDataParallel")
    joined = world()
    if dist.get_world_size() != joined.size:
        raise MorseError(
            f"the process group has {dist.get_world_size()} ranks and MPI {joined.size}: start it with "
            "morse.torch.init_process_group()")
    choice("overlap", overlap, _library.OVERLAPS)
    choice("topology", topology, _library.TOPOLOGIES)
    for text in (codec, start):
        _library.check(_library.library().morse_check_codec(text.encode()))
    is_change = _library.brings_change(codec)
    if is_change:
        _check_change(codec, optimizer, warm_start, overlap)
        warm_start = 0
    if warm_start is None:
        warm_start = WARM_START if steps is None else -(-steps // 10)
    if timeline is not None and "%d" not in timeline:
        raise MorseError(f"timeline names a file for each rank, as in 'timeline-%d.json', not '{timeline}'")
    if warm_start < 0:
        raise MorseError(f"warm_start is a number of steps, not {warm_start}")
    state = Compression(
        model, joined, codec, warm_start, start, name or type(model.module).__name__,
        {"overlap": overlap, "topology": topology, "sends_nan": sends_nan, "seed": seed,
         "momentum": momentum if is_change else 0}, vectors, Timeline(timeline, joined.rank) if timeline else None)
    try:
        model.register_comm_hook(state, hook)
    except RuntimeError as error:
        raise MorseError(f"the hook cannot be registered ({error}): DDP takes one, once; make a new DDP object", USAGE) from error
    return state


def _check_change(codec: str, optimizer: Optional[torch.optim.Optimizer], warm_start: Optional[int], overlap: str) -> None:
    """Raises unless an optimizer applies a change as it is, and nothing is asked that a whole gradient cannot have."""
    name = codec.split(":")[0]
    if optimizer is None or type(optimizer) is not torch.optim.SGD:
        raise MorseError(
            f"{name} brings a change of the model, with momentum and what was not sent inside: give "
            f"compress(…, optimizer=…) the torch.optim.SGD that applies it, not {type(optimizer).__name__}")
    if any(group.get("momentum") for group in optimizer.param_groups):
        raise MorseError(f"{name} has momentum inside: make the SGD with momentum=0, and give momentum to compress()")
    if warm_start:
        raise MorseError(f"{name} uses its own code from the first step: warm_start is 0, not {warm_start}")
    if overlap in ("thread", "inline"):
        raise MorseError(f"{name} begins with the whole gradient: overlap is 'off', not '{overlap}'")
