"""The ranks of the job."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Optional

from . import _ending
from ._library import USAGE, MorseError, WorldOptions, check, library


class World:
    """A group of ranks; ``init`` makes the one of the whole job."""

    def __init__(self, communicator: Optional[Any] = None, timeout: float = 60, patience: float = 10) -> None:
        options = WorldOptions(ctypes.sizeof(WorldOptions), 0, timeout, patience)
        handle = ctypes.c_void_p()
        fortran = -1 if communicator is None else int(communicator.py2f())
        check(library().morse_start(fortran, ctypes.byref(options), ctypes.byref(handle)))
        self.handle = handle
        self.rank: int = library().morse_rank(handle)
        self.size: int = library().morse_size(handle)
        self.local_rank: int = library().morse_host_rank(handle)
        self.local_size: int = library().morse_host_size(handle)
        self.host_count: int = library().morse_host_count(handle)

    def broadcast(self, address: int, byte_count: int, root: int = 0) -> None:
        """Copies bytes at an address from ``root`` to all ranks. Collective."""
        check(library().morse_broadcast(self.handle, address, byte_count, root))

    def broadcast_bytes(self, data: bytes, root: int = 0) -> bytes:
        """The bytes of ``root``, which may be of any length, on all ranks. Collective."""
        length = ctypes.c_int64(len(data))
        self.broadcast(ctypes.addressof(length), 8, root)
        buffer = ctypes.create_string_buffer(data if self.rank == root else b"", max(length.value, 1))
        self.broadcast(ctypes.addressof(buffer), length.value, root)
        return buffer.raw[: length.value]

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """The bytes of all ranks, by rank; one broadcast from each, for a few bytes at the start. Collective."""
        return [self.broadcast_bytes(data, root) for root in range(self.size)]

    def check_equal(self, what: str, data: bytes) -> None:
        """Raises on all ranks if ``data`` differs between them. Collective."""
        check(library().morse_check_equal(self.handle, what.encode(), data, len(data)))


_world: Optional[World] = None


def init(communicator: Optional[Any] = None, *, timeout: float = 60, patience: float = 10) -> World:
    """Joins the ranks that ``mpirun`` started; does nothing if that was done before. Collective.

    MPI is started if it is not yet; with mpi4py, its MPI is used. Without a launcher the world is this process alone.

    Args:
      communicator: An mpi4py communicator of the ranks that take part; all ranks of the job by default.
      timeout: Seconds without progress after which a wait for other ranks ends with an error that names them.
      patience: Seconds after which such a wait is reported; negative for never.

    Raises:
      MorseError: If a rank stays away, or another launcher (torchrun) has started several processes, each of which would be alone.
    """
    global _world
    if _world is not None:
        return _world
    world = World(communicator, timeout, patience)
    started = os.environ.get("WORLD_SIZE", "")
    if world.size == 1 and communicator is None and started.isdigit() and int(started) > 1:
        if os.environ.get("RANK", "0") != "0":
            # One rank reports for all; the launcher ends the others as soon as one has failed.
            import time

            time.sleep(1)
        raise MorseError(
            f"WORLD_SIZE says that {started} processes were started (by torchrun?), but MPI sees one, so that each would train "
            f"alone: start with mpirun -np {started} --bind-to none {os.path.basename(sys.executable)} -m morse "
            f"{os.path.basename(sys.argv[0])}", USAGE)
    _world = world
    _ending.install()
    return world


def world() -> World:
    """The world of this process; calls ``init`` if it was not called yet."""
    return _world if _world is not None else init()


def is_initialized() -> bool:
    """Whether ``init`` has been called."""
    return _world is not None


def rank() -> int:
    """This rank's number, from 0."""
    return world().rank


def size() -> int:
    """The number of ranks."""
    return world().size


def local_rank() -> int:
    """This rank's number among those of its host."""
    return world().local_rank


def local_size() -> int:
    """The number of ranks of this host."""
    return world().local_size
