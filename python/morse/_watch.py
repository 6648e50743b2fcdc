"""Notices residuals that are larger than codes can carry later."""

from __future__ import annotations

import statistics
from typing import Optional

_LIMIT = 4.0
_WINDOW = 9

EVERY = 10
"""Steps between measurements."""


class ResidualWatch:
    """Warns once if residuals stay above four times the gradients and have grown: the learning rate is too high for the codec.

    A healthy run has residuals of one to three times the norm of its gradients. The median of nine measurements decides, as in
    ``train``; here a rank looks at its own.
    """

    def __init__(self, codec: str) -> None:
        self.codec = codec
        # A code that sends one value in many keeps the others for long.
        self.is_needed = codec.split(":")[0] in ("one-bit", "multi-bit")
        self._ratios: list[float] = []
        self._first: Optional[float] = None
        self._has_warned = False

    def add(self, residual: float, gradient: float) -> Optional[str]:
        """Takes the norms of a step; returns a sentence once in a run."""
        if not 0 < gradient < float("inf") or residual <= 0:
            return None
        self._ratios = [*self._ratios[1 - _WINDOW:], residual / gradient]
        has_grown = self._first is not None and residual > self._first
        self._first = residual if self._first is None else self._first
        middle = statistics.median(self._ratios)
        if self._has_warned or not has_grown or len(self._ratios) < _WINDOW or middle <= _LIMIT:
            return None
        self._has_warned = True
        return (
            f"residuals grew to {middle:.1f} times the gradients: the codec {self.codec} cannot follow this learning rate; lower it, or "
            "lengthen warm_start")
