"""How a process of a job ends: together with the others, or at once and with a status if something went wrong.

Python ends a process by ``atexit`` functions, also after an exception, and MPI then waits for the other ranks, which wait for a
gradient. A failure is therefore remembered when it is reported and ends the job in ``atexit``, after other hooks of
``sys.excepthook`` (torch collects the text and prints it late) have had their say.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from types import TracebackType
from typing import Callable, NoReturn, Optional, Type

from ._library import MorseError, check, library

_failure: Optional[int] = None
_noted: Optional[MorseError] = None
_is_installed = False
_before: list[Callable[[], None]] = []


def before_the_end(function: Callable[[], None]) -> None:
    """Calls ``function`` at the end of the process, before MPI ends, unless it ends with a failure."""
    _before.append(function)


def abort(status: int) -> NoReturn:
    """Ends all ranks of the job at once with ``status`` (1 to 255)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    # The launcher forwards what was written only while it has not yet begun to end the job.
    time.sleep(0.2)
    library().morse_abort(status if 1 <= status <= 255 else 1)
    os._exit(status if 1 <= status <= 255 else 1)


def note(error: BaseException) -> None:
    """Notes an error that passes through other hands, which may wrap it: autograd of torch 1 makes a RuntimeError of it."""
    global _noted
    if isinstance(error, MorseError):
        _noted = error


def remember(error: BaseException) -> int:
    """Notes that the process has failed; the job ends when Python does. Returns the status."""
    global _failure
    if isinstance(error, MorseError):
        _failure = error.status
    else:
        _failure = _noted.status if _noted is not None and str(_noted) in str(error) else 1
    return _failure


def install() -> None:
    """Sees to the end of this process; does nothing the second time."""
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    previous = sys.excepthook

    def hook(kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
        remember(error)
        previous(kind, error, traceback)

    sys.excepthook = hook
    atexit.register(_end)


def _end() -> None:
    if _failure is not None:
        abort(_failure)
    try:
        for function in reversed(_before):
            function()
        check(library().morse_finish())
    except MorseError as error:
        print(f"morse: {error}", file=sys.stderr)
        abort(error.status)
    except Exception as error:  # noqa: BLE001 - nothing else would end the other ranks
        print(f"morse: at the end of the program: {error}", file=sys.stderr)
        abort(1)
