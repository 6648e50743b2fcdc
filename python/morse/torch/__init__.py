"""Morse for PyTorch: compressed gradients for ``DistributedDataParallel``, and for loops without it.

    import morse.torch
    morse.torch.init_process_group()
    model = torch.nn.parallel.DistributedDataParallel(net)
    state = morse.torch.compress(model, codec="one-bit", warm_start=100)
"""

from __future__ import annotations

from .._ending import abort
from .._library import MorseError
from .._report import sentences as report
from .._world import init, is_initialized, local_rank, local_size, rank, size
from ._compress import compress
from ._hook import Compression
from ._local_steps import LocalSteps
from ._optimizer import DistributedOptimizer
from ._parameters import broadcast_optimizer_state, broadcast_parameters
from ._process_group import init_process_group
from ._state import merge

__all__ = [
    "Compression", "DistributedOptimizer", "LocalSteps", "MorseError", "abort", "broadcast_optimizer_state", "broadcast_parameters",
    "compress", "init", "init_process_group", "is_initialized", "local_rank", "local_size", "merge", "rank", "report", "size",
]
