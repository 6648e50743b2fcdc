"""What a job says at its end: whether anything was compressed, and what it saved."""

from __future__ import annotations

import os
import sys
from typing import Optional

from ._stream import Stream

_streams: list[tuple[str, Stream]] = []
_expected: dict[str, str] = {}


def expect(name: str, codec: str) -> None:
    """Notes that something called ``name`` is to be exchanged, before it has been."""
    _expected.setdefault(name, codec)


def add(name: str, stream: Stream) -> None:
    """Notes the stream of what is called ``name``."""
    _streams.append((name, stream))


def bytes_text(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def sentence(name: str, stream: Stream) -> str:
    """What a stream has done, in one sentence."""
    counts, ranks = stream.counters(), stream.world.size
    if ranks == 1:
        return f"{name}: one rank, nothing to exchange"
    if counts.exchanges == 0:
        return f"{name}: not engaged, nothing was exchanged"
    floats = 2 * (ranks - 1) / ranks * 4 * stream.count * counts.exchanges
    ratio = floats / max(counts.sent, 1)
    where = "over the network" if counts.host_sent == 0 else "in the host" if counts.network_sent == 0 else "in all"
    text = (
        f"{name}: {counts.exchanges} exchanges of {stream.count} values, at last by {stream.codec}; rank {stream.world.rank} sent "
        f"{bytes_text(counts.sent)} {where}, {ratio:.1f} times less than floats ({bytes_text(floats)})")
    if counts.non_finite_groups:
        text += f"; {counts.non_finite_groups} groups were not finite"
    return text


def sentences() -> list[str]:
    """One sentence for each stream and for everything that never got one."""
    known = {name for name, _ in _streams}
    missing = [
        f"{name}: not engaged, no gradient came by {codec}" for name, codec in _expected.items() if name not in known]
    return [sentence(name, stream) for name, stream in _streams if stream.handle] + missing


def report() -> None:
    """Prints the sentences on rank 0, unless MORSE_QUIET is set."""
    from ._world import world

    if os.environ.get("MORSE_QUIET") or world().rank != 0:
        return
    for text in sentences():
        print(f"morse: {text}", file=sys.stderr)


_is_installed: Optional[bool] = None


def install() -> None:
    """Reports at the end of the process."""
    global _is_installed
    from . import _ending

    if _is_installed is None:
        _is_installed = True
        _ending.before_the_end(report)
