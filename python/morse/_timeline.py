"""The timeline of a rank: what its exchanges do, and when, beside the computation."""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any, Iterable, Sequence

from . import _ending
from ._library import MorseError, library
from ._stream import Event, TensorSpec

COMPUTATION, EXCHANGE = 0, 1


def clock() -> float:
    """Seconds of the library's clock."""
    return float(library().morse_clock())


class Timeline:
    """A file in Chrome's trace format, for Perfetto or chrome://tracing; a rank is a process of it, with two threads.

    Times are those of the host's clock, in microseconds. An event is written as soon as it is known, a line for each, so that what a killed job
    has written can be read, too.
    """

    def __init__(self, path: str, rank: int) -> None:
        self.path = pathlib.Path(path.replace("%d", str(rank)))
        self._rank = rank
        self._offset = time.time() - clock()
        try:
            # Each line is there as soon as it is written.
            self._file = open(self.path, "w", buffering=1, encoding="utf-8")
        except OSError as error:
            raise MorseError(f"the timeline cannot be written to {self.path}: {error.strerror}") from error
        self._file.write("[\n")
        for thread, name in ((COMPUTATION, "computation"), (EXCHANGE, "exchange")):
            self._add({"name": "thread_name", "ph": "M", "tid": thread, "args": {"name": name}})
        _ending.before_the_end(self._end)

    def span(self, name: str, start: float, end: float, thread: int = COMPUTATION, **details: Any) -> None:
        """What took from one time of the library's clock to another."""
        self._add({
            "name": name, "ph": "X", "tid": thread, "ts": self._microseconds(start), "dur": round(1e6 * (end - start), 3),
            "args": details})

    def mark(self, name: str, moment: float) -> None:
        """What happened at a time of the library's clock."""
        self._add({"name": name, "ph": "i", "s": "t", "tid": COMPUTATION, "ts": self._microseconds(moment)})

    def exchange(self, events: Iterable[Event], tensors: Sequence[TensorSpec]) -> None:
        """Events of a stream, with the tensors of their values."""
        bounds, start = [], 0
        for tensor in tensors:
            bounds.append((start, start + tensor.count, tensor.name))
            start += tensor.count
        for event in events:
            names = [name for first, end, name in bounds if first < event.values[1] and event.values[0] < end]
            details: dict[str, Any] = {"values": list(event.values), "tensors": names}
            if event.receiver is not None:
                details.update(receiver=event.receiver, bytes=event.bytes)
            self.span(event.kind, event.start, event.end, EXCHANGE, **details)

    def _microseconds(self, moment: float) -> float:
        return round(1e6 * (self._offset + moment), 3)

    def _add(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps({"pid": self._rank, **event}) + ",\n")

    def _end(self) -> None:
        """Makes the file whole."""
        self._add({"name": "end", "ph": "i", "s": "p", "tid": COMPUTATION, "ts": self._microseconds(clock())})
        self._file.seek(self._file.tell() - 2)
        self._file.write("]\n")
        self._file.truncate()
        self._file.close()
