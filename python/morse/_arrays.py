"""Sums and means of arrays of NumPy, torch (CPU) and, by copies, everything that NumPy can read."""

from __future__ import annotations

import sys
from typing import Any, Optional, Sequence

import numpy

from . import _report
from ._library import MorseError, demand_sum
from ._stream import Stream, TensorSpec
from ._world import world

_streams: dict[str, tuple[Stream, int]] = {}


def _address(array: Any, index: int, name: str) -> int:
    """The address of the floats of an array that can be changed in place; raises what is wrong with it."""
    where = f"all_reduce('{name}'): array {index}"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        if array.layout != torch.strided:
            raise MorseError(f"{where} is sparse; give its values, or make it dense (to_dense())")
        if array.device.type != "cpu":
            raise MorseError(f"{where} is on {array.device}; copy it to the CPU first, or use morse.torch.compress")
        if array.dtype != torch.float32:
            raise MorseError(f"{where} is of {array.dtype}; only float32 is exchanged")
        if not array.is_contiguous():
            raise MorseError(f"{where} is not contiguous; pass .contiguous() and copy the result back")
        return int(array.data_ptr())
    if isinstance(array, numpy.ndarray):
        if array.dtype != numpy.float32:
            raise MorseError(f"{where} is of {array.dtype}; only float32 is exchanged")
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise MorseError(f"{where} is {'read-only' if array.flags.c_contiguous else 'not contiguous'}; pass a copy")
        return int(array.ctypes.data)
    raise MorseError(
        f"{where} is a {type(array).__name__}; in place only NumPy arrays and torch tensors change: use in_place=False")


def all_reduce(
    arrays: Any, name: str, codec: str = "one-bit", *, op: str = "mean", in_place: bool = True, overlap: str = "off",
    seed: int = 1,
) -> Any:
    """The sum or the mean of arrays over the ranks, in place. Collective.

    The name stands for a stream: what a code could not carry is added to the next arrays of that name, so each thing that is
    exchanged again and again has a name of its own. The shapes and the codec of a name stay the same.

    Args:
      arrays: A float32 array, or a list of them: of NumPy, or torch tensors on the CPU. With ``in_place=False`` anything that
        NumPy reads (JAX by DLPack), and new NumPy arrays are returned.
      name: Of what is exchanged, the same on all ranks.
      codec: As for ``train --codec``: "none", "one-bit", "multi-bit:bits=4", "chunk-top-k", ….
      op: "mean" or "sum".
      in_place: Whether the arrays change, or new ones are returned.
      overlap: How the exchange is carried on (see ``morse.torch.compress``).
      seed: Of codes with random numbers.

    Returns:
      ``arrays``, or the new ones.

    Raises:
      MorseError: If an array cannot be exchanged, ranks differ, or one does not come.

    Cost: each rank sends 2 (K - 1)/K times the encoded size, in 2 (K - 1) messages if that is below 20 kB for each rank.
    """
    if not name:
        raise MorseError("all_reduce needs a name: what a code cannot carry is added to the next arrays of that name")
    if op not in ("mean", "sum"):
        raise MorseError(f"op is mean or sum, not '{op}'")
    is_one = not isinstance(arrays, (list, tuple))
    given: Sequence[Any] = [arrays] if is_one else list(arrays)
    if not in_place:
        given = [numpy.array(_numpy(array), numpy.float32, order="C", copy=True) for array in given]
    if not given:
        raise MorseError(f"all_reduce('{name}'): the list is empty")
    addresses = [_address(array, index, name) for index, array in enumerate(given)]
    specs = [TensorSpec(str(index), tuple(int(size) for size in array.shape)) for index, array in enumerate(given)]
    demand_sum(f"all_reduce('{name}')", codec)
    stream, step = _stream(name, codec, specs, overlap, seed)
    scale = 1 / stream.world.size if op == "mean" else 1.0
    stream.begin(step)
    pieces = []
    for spec, address in zip(specs, addresses):
        stream.write(address, stream.offsets[spec.name], spec.count, scale)
        pieces.append((address, stream.offsets[spec.name], spec.count))
    stream.finish(pieces)
    _streams[name] = (stream, step + 1)
    return (given[0] if is_one else given) if not in_place else arrays


def _numpy(array: Any) -> Any:
    """An array of another library as NumPy sees it."""
    if hasattr(array, "__dlpack__") and not isinstance(array, numpy.ndarray):
        try:
            return numpy.from_dlpack(array)
        except (RuntimeError, BufferError, TypeError):
            pass
    return numpy.asarray(array)


def _stream(name: str, codec: str, specs: list[TensorSpec], overlap: str, seed: int) -> tuple[Stream, int]:
    known: Optional[tuple[Stream, int]] = _streams.get(name)
    if known is None:
        stream = Stream(world(), codec, specs, overlap=overlap, seed=seed)
        _report.add(name, stream)
        _report.install()
        _streams[name] = (stream, 0)
        return stream, 0
    if known[0].tensors != specs:
        was, now = [list(spec.shape) for spec in known[0].tensors], [list(spec.shape) for spec in specs]
        raise MorseError(f"all_reduce('{name}'): the shapes were {was} and are now {now}; other arrays need another name")
    if known[0].codec != codec:
        raise MorseError(
            f"all_reduce('{name}'): the codec was {known[0].codec} and is now {codec}; another codec needs another name")
    return known
