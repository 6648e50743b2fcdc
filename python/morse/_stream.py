"""Streams: sums of arrays of one layout, with what the codes of earlier ones could not carry."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_int64, c_void_p
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Optional, Sequence

import numpy
import numpy.typing

from . import _library
from ._library import Counters, MorseError, Options, Piece, Tensor, check, library
from ._world import World

Floats = numpy.typing.NDArray[numpy.float32]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a stream: its name, its shape, and whether it travels as floats whatever the codec."""

    name: str
    shape: tuple[int, ...]
    is_plain: bool = False

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Counts:
    """What a stream has sent and received on this rank since its start, in bytes, and how long it took, in seconds."""

    network_sent: int
    network_received: int
    host_sent: int
    host_received: int
    messages: int
    plain_groups: int
    non_finite_groups: int
    exchanges: int
    encode: float
    sum: float
    decode: float
    wait: float

    @property
    def sent(self) -> int:
        """Bytes sent over the network and in the memory of the host."""
        return self.network_sent + self.host_sent


@dataclass(frozen=True)
class Event:
    """A unit of work of an exchange, or a wait: when, in seconds of the library's clock, on which values, and what was sent to whom."""

    kind: str
    start: float
    end: float
    values: tuple[int, int]
    receiver: Optional[int]
    bytes: int


def _tensors(tensors: Sequence[TensorSpec]) -> Any:
    array = (Tensor * max(len(tensors), 1))()
    for item, tensor in zip(array, tensors):
        item.name = tensor.name.encode()
        item.shape = (c_int64 * max(len(tensor.shape), 1))(*tensor.shape)
        item.dimensions = len(tensor.shape)
        item.kind = _library.PLAIN if tensor.is_plain else _library.CODED
    return array


def choice(what: str, given: str, choices: dict[str, int]) -> int:
    """The number of a choice; raises the known ones otherwise."""
    if given not in choices:
        raise MorseError(f"{what} is {', '.join(choices)}, not '{given}'")
    return choices[given]


class Stream:
    """One residual, and one exchange under way at a time. Collective, as are all functions that exchange or change it."""

    def __init__(
        self, world: World, codec: str, tensors: Sequence[TensorSpec], *, overlap: str = "auto", topology: str = "auto",
        threads: int = 1, is_restorable: bool = False, sends_nan: bool = True, seed: int = 1, momentum: float = 0,
        records_events: bool = False,
    ) -> None:
        options = Options(
            ctypes.sizeof(Options), choice("overlap", overlap, _library.OVERLAPS),
            choice("topology", topology, _library.TOPOLOGIES), threads, int(is_restorable), int(sends_nan), seed,
            momentum, int(records_events))
        handle = c_void_p()
        array = _tensors(tensors)
        check(library().morse_stream_create(
            world.handle, codec.encode(), array, len(tensors), ctypes.byref(options), ctypes.byref(handle)))
        self.handle = handle
        self.world = world
        self.codec = codec
        self.tensors = list(tensors)
        self.offsets = offsets(tensors)
        self.count: int = library().morse_stream_count(handle)

    def set_codec(self, codec: str) -> None:
        """Changes the codec; what is left in the residuals stays."""
        check(library().morse_stream_set_codec(self.handle, codec.encode()))
        self.codec = codec

    def arrange(self, tensors: Sequence[TensorSpec]) -> None:
        """Changes the order of the tensors; residuals follow by name."""
        check(library().morse_stream_arrange(self.handle, _tensors(tensors), len(tensors)))
        self.tensors = list(tensors)
        self.offsets = offsets(tensors)

    def begin(self, step: int) -> None:
        """Begins an exchange."""
        check(library().morse_stream_begin(self.handle, step))

    def write(self, address: int, offset: int, count: int, scale: float = 1.0) -> None:
        """Copies ``scale`` times the floats at an address to the places from ``offset`` on."""
        check(library().morse_stream_write(self.handle, address, offset, count, scale))

    def finish(self, pieces: Iterable[tuple[int, int, int]]) -> None:
        """Waits for the sums and writes them to pieces: address, offset, count."""
        given = list(pieces)
        array = (Piece * max(len(given), 1))(*(Piece(*piece) for piece in given))
        check(library().morse_stream_finish(self.handle, array, len(given)))

    def discard(self) -> None:
        """Drops the exchange as if it had never been."""
        check(library().morse_stream_discard(self.handle))

    def residual(self, kind: int = _library.RESIDUAL_OWN) -> Floats:
        """A residual in the memory of the stream, until the codec or the order changes."""
        address, count = c_void_p(), c_int64()
        check(library().morse_stream_residual(self.handle, kind, ctypes.byref(address), ctypes.byref(count)))
        return _floats(address, count)

    def memory(self) -> list[Floats]:
        """What a codec without residuals keeps, in the memory of the stream; nothing for others."""
        parts = library().morse_stream_memory_parts(self.handle)
        check(_library.USAGE if parts < 0 else 0)
        result = []
        for part in range(parts):
            address, count = c_void_p(), c_int64()
            check(library().morse_stream_memory(self.handle, part, ctypes.byref(address), ctypes.byref(count)))
            result.append(_floats(address, count))
        return result

    def numbers(self) -> str:
        """The numbers beside that memory."""
        text: Optional[bytes] = library().morse_stream_numbers(self.handle)
        check(_library.USAGE if text is None else 0)
        return (text or b"").decode()

    def restore_memory(self, memory: Sequence[Floats], numbers: str) -> None:
        """Goes on from the memory and the numbers of another stream of this codec, these tensors and this rank."""
        own = self.memory()
        if [part.size for part in own] != [part.size for part in memory]:
            raise MorseError(f"the memory that was saved is not that of {self.codec} on this rank")
        for part, saved in zip(own, memory):
            part[:] = saved
        check(library().morse_stream_restore(self.handle, numbers.encode()))

    def owned_ranges(self) -> list[tuple[int, int]]:
        """The ranges of the values that this rank owns."""
        count = library().morse_stream_owned_ranges(self.handle, None, 0)
        check(_library.USAGE if count < 0 else 0)
        bounds = (c_int64 * max(2 * count, 1))()
        library().morse_stream_owned_ranges(self.handle, bounds, 2 * count)
        return [(bounds[2 * index], bounds[2 * index + 1]) for index in range(count)]

    def counters(self) -> Counts:
        """What has been sent so far."""
        counters = Counters(ctypes.sizeof(Counters))
        check(library().morse_stream_counters(self.handle, ctypes.byref(counters)))
        return Counts(**{name: getattr(counters, name) for name in Counts.__dataclass_fields__})

    def events(self) -> Iterator[Event]:
        """What its exchanges have done since it was last asked, if it records that."""
        room = (_library.Event * 256)()
        while True:
            count = library().morse_stream_events(self.handle, room, len(room))
            check(_library.USAGE if count < 0 else 0)
            for event in room[:count]:
                receiver = None if event.receiver < 0 else event.receiver
                yield Event(
                    _library.EVENTS[event.kind], event.start, event.end, (event.offset, event.offset + event.count), receiver,
                    event.bytes)
            if count < len(room):
                return

    def predicted_bytes(self) -> int:
        """The bytes that this rank sends in one exchange."""
        return int(library().morse_stream_predicted_bytes(self.handle))

    def release(self) -> None:
        """Ends the stream."""
        if self.handle:
            library().morse_stream_release(self.handle)
            self.handle = c_void_p()


def _floats(address: c_void_p, count: c_int64) -> Floats:
    """Floats of the library, in its memory."""
    if not address.value or count.value == 0:
        return numpy.zeros(0, numpy.float32)
    return numpy.ctypeslib.as_array((ctypes.c_float * count.value).from_address(address.value))


def offsets(tensors: Sequence[TensorSpec]) -> dict[str, int]:
    """Where each tensor begins in the flat array."""
    result, start = {}, 0
    for tensor in tensors:
        result[tensor.name] = start
        start += tensor.count
    return result
