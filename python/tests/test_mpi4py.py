"""Two users of MPI in one process: mpi4py, whichever starts first, and its communicators."""

from __future__ import annotations

import pathlib

import pytest
from test_faults import check, run

pytest.importorskip("mpi4py")
pytestmark = pytest.mark.jobs

BODY = """
array = numpy.full(7, 1.0 + MPI.COMM_WORLD.rank, numpy.float32)
morse.all_reduce(array, "a", "none", op="sum")
assert (array == 3).all(), array
assert MPI.COMM_WORLD.allreduce(1) == 2
print("both work", flush=True)
"""


@pytest.mark.parametrize("first", ["from mpi4py import MPI\nimport morse; morse.init()", "import morse; morse.init()\nfrom mpi4py import MPI"])
def test_either_starts(tmp_path: pathlib.Path, first: str) -> None:
    check(run(tmp_path, BODY, head=f"import numpy\n{first}\n"), 0, "both work")


def test_a_communicator(tmp_path: pathlib.Path) -> None:
    """Ranks in reverse order, and worlds of one."""
    check(run(tmp_path, """
        from mpi4py import MPI
        import morse
        from morse import World
        world = MPI.COMM_WORLD
        turned = World(world.Split(0, -world.rank))
        assert (turned.rank, turned.size) == (1 - world.rank, 2)
        assert turned.broadcast_bytes(str(world.rank).encode()) == b"1"
        alone = World(world.Split(world.rank))
        assert (alone.rank, alone.size) == (0, 1)
        morse.init(world)
        print("both work", flush=True)
    """, head=""), 0, "both work")
