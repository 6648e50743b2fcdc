"""The state of an exchange in checkpoints: each rank saves its own part, and parts are merged for another number of ranks."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy
import torch

from .. import _library
from .._library import MorseError
from .._stream import Stream, TensorSpec
from .._world import World

VERSION = 1


def part(world: World, step: int, codec: str, specs: Sequence[TensorSpec], stream: Optional[Stream]) -> dict[str, Any]:
    """The part of this rank; a copy, which does not change the run. Without a stream nothing is left behind yet."""
    own = stream.residual() if stream else numpy.zeros(0, numpy.float32)
    owner = stream.residual(_library.RESIDUAL_OWNER) if stream else own
    ranges = stream.owned_ranges() if stream and owner.size else []
    return {
        "version": VERSION, "rank": world.rank, "ranks": world.size, "step": step, "codec": codec,
        "names": [spec.name for spec in specs], "shapes": [list(spec.shape) for spec in specs],
        "residual": torch.from_numpy(own.copy()), "owned": [list(bounds) for bounds in ranges],
        "owner_residual": torch.from_numpy(owner.copy()),
        "memory": [torch.from_numpy(part.copy()) for part in stream.memory()] if stream else [],
        "numbers": stream.numbers() if stream else "",
    }


def fitting(name: str, world: World, specs: Sequence[TensorSpec], saved: dict[str, Any]) -> list[TensorSpec]:
    """The tensors in the order of a saved state; raises if it is not one of these tensors and this rank."""
    if saved.get("version") != VERSION:
        raise MorseError(f"{name}: the saved state is of version {saved.get('version')}, and this is version {VERSION}")
    if saved["ranks"] != world.size:
        raise MorseError(
            f"{name}: the state was saved by {saved['ranks']} ranks, and there are {world.size}: "
            f"morse.torch.merge(states, {world.size}) makes it fit")
    if saved["rank"] != world.rank:
        raise MorseError(f"{name}: this is rank {world.rank}, and the state is that of rank {saved['rank']}")
    known = {spec.name: spec for spec in specs}
    for key, shape in zip(saved["names"], saved["shapes"]):
        if key not in known or list(known[key].shape) != list(shape):
            raise MorseError(f"{name}: the saved state has {key} of shape {list(shape)}, which the model has not")
    missing = set(known) - set(saved["names"])
    if missing:
        raise MorseError(f"{name}: the saved state has no {sorted(missing)[0]}")
    return [known[key] for key in saved["names"]]


def resume(name: str, stream: Stream, saved: dict[str, Any]) -> None:
    """Puts a saved state into a stream that has not exchanged anything; collective."""
    specs = fitting(name, stream.world, stream.tensors, saved)
    if stream.counters().exchanges:
        raise MorseError(f"{name}: the state of the exchange is loaded before the first step")
    if specs != stream.tensors:
        stream.arrange(specs)
    if stream.codec != saved["codec"]:
        stream.set_codec(saved["codec"])
    restore(stream, saved)


def restore(stream: Stream, saved: dict[str, Any]) -> None:
    """Puts residuals into a new stream; collective.

    Owners' residuals go to those who own the values now, by a sum of floats in which each value is of one rank: exact.
    """
    world = stream.world
    if stream.memory():
        stream.restore_memory([part.numpy() for part in saved["memory"]], saved["numbers"])
        return
    own = stream.residual()
    residual = saved["residual"].numpy()
    has_state = world.size > 1 and any(answer == b"1" for answer in world.gather_bytes(b"1" if residual.size else b"0"))
    if not has_state:
        return
    if own.size == 0:
        # The codec has no residual: it is kept through a change to the one of the run.
        raise MorseError("a state with residuals was saved under a codec that has none")
    if residual.size:
        own[:] = residual
    full = numpy.zeros(stream.count, numpy.float32)
    place = 0
    values = saved["owner_residual"].numpy()
    for start, end in saved["owned"]:
        full[start:end] = values[place : place + end - start]
        place += end - start
    exchange = Stream(world, "none", [TensorSpec("residuals", (stream.count,))], overlap="off")
    exchange.begin(0)
    exchange.write(full.ctypes.data, 0, full.size)
    exchange.finish([(full.ctypes.data, 0, full.size)])
    exchange.release()
    owner, place = stream.residual(_library.RESIDUAL_OWNER), 0
    for start, end in stream.owned_ranges():
        owner[place : place + end - start] = full[start:end]
        place += end - start


def merge(states: Sequence[dict[str, Any]], ranks: int) -> list[dict[str, Any]]:
    """The states for another number of ranks, from those of all ranks of a run; the sum of what is left behind stays.

    Rank j takes the residuals of the ranks i with i mod ``ranks`` = j; what owners kept joins the residuals of their contributions.

    Args:
      states: The ``state_dict()`` of every rank, in any order, at the same step.
      ranks: The new number of ranks.
    """
    if ranks < 1:
        raise MorseError(f"the number of ranks is at least 1, not {ranks}")
    ordered = sorted(states, key=lambda state: int(state["rank"]))
    if not ordered or [state["rank"] for state in ordered] != list(range(ordered[0]["ranks"])):
        raise MorseError(f"merge needs the state of every rank; these are of the ranks {[state['rank'] for state in ordered]}")
    first = ordered[0]
    for state in ordered:
        for key in ("version", "ranks", "step", "codec", "names", "shapes"):
            if state[key] != first[key]:
                raise MorseError(
                    f"the states of the ranks 0 and {state['rank']} differ in {key}: they are not of one moment of one run")
    if any(state.get("memory") for state in ordered):
        raise MorseError(
            f"what {first['codec'].split(':')[0]} keeps is laid out for {first['ranks']} ranks: it goes on with as many, or begins anew")
    count = sum(int(torch.Size(shape).numel()) for shape in first["shapes"])
    has_residual = any(state["residual"].numel() for state in ordered)
    merged = []
    for rank in range(ranks):
        total = torch.zeros(count if has_residual and ranks > 1 else 0, dtype=torch.float32)
        for state in ordered[rank::ranks] if total.numel() else []:
            total += state["residual"]
            place = 0
            for start, end in state["owned"]:
                total[start:end] += state["owner_residual"][place : place + end - start]
                place += end - start
        merged.append({
            **first, "rank": rank, "ranks": ranks, "residual": total, "owned": [],
            "owner_residual": torch.zeros(0, dtype=torch.float32)})
    return merged
