"""Morse: sums of arrays over the ranks of an MPI job with compressed messages, for PyTorch, NumPy and JAX.

    mpirun -np 4 --bind-to none python -m morse train.py

``morse.torch`` is for PyTorch: ``DistributedDataParallel``, or an optimizer by itself. ``morse.all_reduce`` is for arrays of NumPy
and others. Everything is float32; each rank has a process of its own.
"""

from __future__ import annotations

from ._arrays import all_reduce
from ._ending import abort
from ._library import MorseError
from ._report import sentences as report
from ._world import World, init, is_initialized, local_rank, local_size, rank, size

__version__ = "0.1.0"
__all__ = [
    "MorseError", "World", "abort", "all_reduce", "init", "is_initialized", "local_rank", "local_size", "rank", "report", "size",
]
