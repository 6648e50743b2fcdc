"""A fault on one rank ends the job soon, with one sentence or the traceback on the terminal, and the right status."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from typing import Optional

import pytest

pytestmark = pytest.mark.jobs

# Most need no torch, whose start takes longer than everything else.
ARRAYS = """
import os, sys, time, numpy, morse
morse.init(timeout=4)
rank = morse.rank()
def passes(name="a", count=3, codec="one-bit", width=9):
    for step in range(count):
        morse.all_reduce(numpy.full((5, width), 1 + rank, numpy.float32), name, codec)
open(f"started-{rank}", "w").write(str(time.monotonic()))
"""

DDP = """
import os, sys, time, torch, morse, morse.torch
torch.set_num_threads(1)
morse.torch.init_process_group(timeout=4)
rank = morse.rank()
def ddp(width=9):
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))
    return torch.nn.parallel.DistributedDataParallel(net)
def passes(model, count=3):
    for step in range(count):
        model(torch.ones(4, 6) * (1 + rank)).square().sum().backward()
open(f"started-{rank}", "w").write(str(time.monotonic()))
"""


def run(tmp_path: pathlib.Path, text: str, *, ranks: int = 2, runner: bool = True, head: str = ARRAYS) -> tuple[int, str, float]:
    """Status, output, and seconds of a job, less those of the start of Python and torch."""
    program = tmp_path / "program.py"
    program.write_text(head + textwrap.dedent(text))
    command = ["mpirun", "-np", str(ranks), sys.executable, *(["-m", "morse"] if runner else []), str(program)]
    environment = {**os.environ, "MORSE_QUIET": "1", "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    # Each rank writes into a file when it has started: on the terminal the lines of two ranks can mix.
    marks = [float(mark.read_text()) for mark in tmp_path.glob("started-*")]
    return done.returncode, done.stdout, time.monotonic() - max(marks, default=start)


def check(result: tuple[int, str, float], status: int, *texts: str, seconds: float = 20) -> None:
    """On a machine with nothing else to do it takes less than half of these seconds."""
    code, output, time_taken = result
    assert code == status, output
    for text in texts:
        assert text in output, output
    assert time_taken < seconds, output


@pytest.mark.parametrize("runner", [True, False])
def test_an_exception(tmp_path: pathlib.Path, runner: bool) -> None:
    check(run(tmp_path, """
        passes()
        if rank == 1: raise ValueError("the reason")
        passes(count=10**9)
    """, runner=runner), 1, "Traceback", "ValueError: the reason")


def test_a_status(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        if rank == 1: sys.exit(3)
        passes(count=10**9)
    """), 3)


def test_the_end_without_a_fault(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        passes()
        os.write(1, f"done {rank}\\n".encode())
        sys.exit(0)
    """), 0, "done 0", "done 1")


def test_a_killed_rank(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        passes()
        if rank == 1: os.kill(os.getpid(), 9)
        passes(count=10**9)
    """), 128 + signal.SIGKILL, "signal 9")


def test_a_rank_that_stays_away(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        passes()
        if rank == 1: time.sleep(60)
        passes()
    """), 75, "no progress for 4 s", "waiting for rank 1")


# Of one stream in coded sums, and of one that brings a change in rounds of messages.
COMPRESS = {
    "one-bit": 'morse.torch.compress(model, "one-bit", warm_start=0)',
    "fetch-sgd": """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        morse.torch.compress(model, "fetch-sgd:k=1/4", optimizer=optimizer)
    """.strip(),
}


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_rank_that_stays_away_from_a_backward_pass(tmp_path: pathlib.Path, codec: str) -> None:
    """The sentence and the status come through autograd."""
    check(run(tmp_path, f"""
        model = ddp()
        {COMPRESS[codec]}
        passes(model)
        if rank == 1: time.sleep(60)
        passes(model)
    """, head=DDP), 75, "no progress for 4 s", "waiting for rank 1")


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_rank_that_comes_late_is_named(tmp_path: pathlib.Path, codec: str) -> None:
    """And the job goes on."""
    check(run(tmp_path, f"""
        model = ddp()
        {COMPRESS[codec]}
        passes(model)
        if rank == 1: time.sleep(3)
        passes(model)
        os.write(1, f"done {{rank}}\\n".encode())
    """, head=DDP.replace("timeout=4", "timeout=20, patience=1")), 0, "waiting for rank 1", "done 0", "done 1")


def test_arrays_that_differ(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, "passes(width=9 + rank)\n"), 64, "the tensors differ between ranks", "where")


def test_models_that_differ(tmp_path: pathlib.Path) -> None:
    """DDP itself compares shapes."""
    code, output, seconds = run(tmp_path, "ddp(9 + rank)\n", head=DDP)
    assert code != 0 and "Traceback" in output and seconds < 10


def test_codecs_that_differ(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, 'passes(codec="one-bit" if rank == 0 else "multi-bit")\n'), 64, "the codec differs between ranks")


def test_two_streams_in_another_order(tmp_path: pathlib.Path) -> None:
    """As of two models whose backward passes run in another order."""
    check(run(tmp_path, """
        passes("a", 1)
        passes("b", 1)
        for name in ("ab" if rank == 0 else "ba"):
            passes(name, 1)
    """), 75, "no progress for 4 s")


def test_another_launcher(tmp_path: pathlib.Path) -> None:
    """As torchrun starts processes: each alone, with a number in the environment."""
    program = tmp_path / "program.py"
    program.write_text(ARRAYS)
    environment = {
        **os.environ, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29999"}
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode != 0 and "start with mpirun -np 2" in done.stdout, done.stdout


def test_the_runner_says_what_is_missing(tmp_path: pathlib.Path) -> None:
    def status(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-m", "morse", *arguments], stderr=subprocess.DEVNULL, timeout=60).returncode

    assert status() == 64
    assert status(str(tmp_path / "nothing.py")) == 66
    assert status("-m") == 64
    argv: Optional[str] = None
    (tmp_path / "named.py").write_text("import sys\nassert __name__ == '__main__' and sys.argv[1:] == ['a', '-b']\n")
    assert status(str(tmp_path / "named.py"), "a", "-b") == 0 and argv is None
