"""The shared library of Morse, as ctypes sees it (``morse.h``)."""

from __future__ import annotations

import ctypes
import os
import pathlib
from ctypes import c_char_p, c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Optional

ABI_VERSION = 1

USAGE, INTERNAL, MEMORY, PEER = 64, 70, 74, 75
OVERLAPS = {"auto": 0, "thread": 1, "inline": 2, "off": 3}
TOPOLOGIES = {"auto": 0, "flat": 1, "hierarchical": 2}
CODED, PLAIN = 0, 1
RESIDUAL_OWN, RESIDUAL_OWNER = 1, 2
RESULT_CHANGE = 2
EVENTS = {1: "encode", 2: "send", 3: "sum", 4: "decode", 5: "deliver", 6: "wait"}


class MorseError(RuntimeError):
    """What went wrong in an exchange or in what was asked of it, in one sentence.

    ``status`` is an exit status: 64 if what was passed is wrong, 70 if ranks differ, 74 if memory is missing, 75 if a rank did
    not come.
    """

    def __init__(self, sentence: str, status: int = USAGE) -> None:
        super().__init__(sentence)
        self.status = status


class Tensor(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("shape", ctypes.POINTER(c_int64)), ("dimensions", c_int32), ("kind", c_int32)]


class Piece(ctypes.Structure):
    _fields_ = [("values", c_void_p), ("offset", c_int64), ("count", c_int64)]


class WorldOptions(ctypes.Structure):
    _fields_ = [("size", c_uint32), ("reserved", c_uint32), ("timeout", c_double), ("patience", c_double)]


class Options(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32), ("overlap", c_int32), ("topology", c_int32), ("threads", c_int32), ("is_restorable", c_int32),
        ("non_finite", c_int32), ("seed", c_uint64), ("momentum", c_double), ("records_events", c_int32), ("reserved", c_int32),
    ]


class Counters(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32), ("reserved", c_uint32),
        ("network_sent", c_uint64), ("network_received", c_uint64), ("host_sent", c_uint64), ("host_received", c_uint64),
        ("messages", c_uint64), ("plain_groups", c_uint64), ("non_finite_groups", c_uint64), ("exchanges", c_uint64),
        ("encode", c_double), ("sum", c_double), ("decode", c_double), ("wait", c_double),
    ]


class Event(ctypes.Structure):
    _fields_ = [
        ("kind", c_int32), ("receiver", c_int32), ("offset", c_int64), ("count", c_int64), ("bytes", c_int64),
        ("start", c_double), ("end", c_double),
    ]


_HANDLE = c_void_p
_PLACE = ctypes.POINTER(c_void_p)
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "morse_abi_version": (c_uint32, []),
    "morse_last_error": (c_char_p, []),
    "morse_start": (c_int32, [c_int32, ctypes.POINTER(WorldOptions), _PLACE]),
    "morse_finish": (c_int32, []),
    "morse_abort": (None, [c_int32]),
    "morse_thread_level": (c_int32, []),
    "morse_rank": (c_int32, [_HANDLE]),
    "morse_size": (c_int32, [_HANDLE]),
    "morse_host_rank": (c_int32, [_HANDLE]),
    "morse_host_size": (c_int32, [_HANDLE]),
    "morse_host_count": (c_int32, [_HANDLE]),
    "morse_broadcast": (c_int32, [_HANDLE, c_void_p, c_int64, c_int32]),
    "morse_check_equal": (c_int32, [_HANDLE, c_char_p, c_void_p, c_int64]),
    "morse_world_release": (c_int32, [_HANDLE]),
    "morse_check_codec": (c_int32, [c_char_p]),
    "morse_codec_result": (c_int32, [c_char_p]),
    "morse_stream_create": (
        c_int32, [_HANDLE, c_char_p, ctypes.POINTER(Tensor), c_int64, ctypes.POINTER(Options), _PLACE],
    ),
    "morse_stream_set_codec": (c_int32, [_HANDLE, c_char_p]),
    "morse_stream_arrange": (c_int32, [_HANDLE, ctypes.POINTER(Tensor), c_int64]),
    "morse_stream_begin": (c_int32, [_HANDLE, c_int64]),
    "morse_stream_write": (c_int32, [_HANDLE, c_void_p, c_int64, c_int64, c_float]),
    "morse_stream_finish": (c_int32, [_HANDLE, ctypes.POINTER(Piece), c_int64]),
    "morse_stream_discard": (c_int32, [_HANDLE]),
    "morse_stream_all_reduce": (c_int32, [_HANDLE, c_int64, ctypes.POINTER(Piece), c_int64, c_float]),
    "morse_stream_counters": (c_int32, [_HANDLE, ctypes.POINTER(Counters)]),
    "morse_clock": (c_double, []),
    "morse_stream_events": (c_int64, [_HANDLE, ctypes.POINTER(Event), c_int64]),
    "morse_stream_predicted_bytes": (c_int64, [_HANDLE]),
    "morse_stream_count": (c_int64, [_HANDLE]),
    "morse_stream_residual": (c_int32, [_HANDLE, c_int32, ctypes.POINTER(c_void_p), ctypes.POINTER(c_int64)]),
    "morse_stream_owned_ranges": (c_int64, [_HANDLE, ctypes.POINTER(c_int64), c_int64]),
    "morse_stream_memory_parts": (c_int64, [_HANDLE]),
    "morse_stream_memory": (c_int32, [_HANDLE, c_int64, ctypes.POINTER(c_void_p), ctypes.POINTER(c_int64)]),
    "morse_stream_numbers": (c_char_p, [_HANDLE]),
    "morse_stream_restore": (c_int32, [_HANDLE, c_char_p]),
    "morse_stream_release": (c_int32, [_HANDLE]),
}

_loaded: Optional[ctypes.CDLL] = None


def _path() -> pathlib.Path:
    """The library: of MORSE_LIBRARY, beside this file as in a wheel, or as ``scripts/build-library`` makes it in the repository."""
    given = os.environ.get("MORSE_LIBRARY")
    if given:
        return pathlib.Path(given)
    here = pathlib.Path(__file__).resolve().parent
    candidates = [here / "libmorse.so", here.parents[1] / ".build-library" / "libmorse.so"]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise MorseError(f"libmorse.so is missing ({candidates[0]}); install the wheel, or build it with scripts/build-library")


def library() -> ctypes.CDLL:
    """The loaded library, with the types of its functions."""
    global _loaded
    if _loaded is not None:
        return _loaded
    path = _path()
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise MorseError(f"{path} cannot be loaded ({error}); it needs Open MPI 4 or 5 (libmpi.so.40)") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    version = loaded.morse_abi_version()
    if version != ABI_VERSION:
        raise MorseError(f"{path} is of version {version}, and this package needs version {ABI_VERSION}: install both anew")
    _loaded = loaded
    return loaded


def check(status: int) -> None:
    """Raises the library's sentence if a call failed."""
    if status == 0:
        return
    sentence = library().morse_last_error()
    raise MorseError(sentence.decode("utf-8", "replace") if sentence else f"an error of status {status}", status)


def brings_change(codec: str) -> bool:
    """Whether a codec brings a change of the model, with its own momentum and memory, and not the sum of the gradients."""
    result = int(library().morse_codec_result(codec.encode()))
    check(USAGE if result < 0 else 0)
    return result == RESULT_CHANGE


def demand_sum(what: str, codec: str) -> None:
    """Raises if a codec brings no sum, which is what is needed."""
    if brings_change(codec):
        raise MorseError(
            f"{what} needs sums, and {codec.split(':')[0]} brings a change of a model: morse.torch.compress(model, codec, "
            "optimizer=…) takes it")
