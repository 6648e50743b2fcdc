"""All tests of a rank run in one job: ``mpirun -np 2 python -m pytest python/tests``; each also runs alone."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("MORSE_QUIET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start jobs of their own run without a launcher; all others, with and without one."""
    is_launched = "OMPI_COMM_WORLD_SIZE" in os.environ
    for item in items:
        if item.get_closest_marker("jobs") and is_launched:
            item.add_marker(pytest.mark.skip(reason="it starts jobs of its own"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "jobs: starts jobs of its own, without a launcher")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A rank that failed ends the others, which may wait for it."""
    import morse

    if exitstatus not in (0, 5) and morse.is_initialized() and morse.size() > 1:
        session.config.get_terminal_writer().flush()
        from morse import _ending

        _ending._failure = int(exitstatus)
