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

HEAD = """
import os, sys, time, torch, morse, morse.torch
torch.set_num_threads(1)
morse.torch.init_process_group(timeout=4)
rank = morse.rank()
def net(width=9):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))
def ddp(model):
    return torch.nn.parallel.DistributedDataParallel(model)
print("AT", time.monotonic(), flush=True)
def passes(model, count=3):
    for step in range(count):
        model(torch.ones(4, 6) * (1 + rank)).square().sum().backward()
"""


def run(tmp_path: pathlib.Path, text: str, *, ranks: int = 2, runner: bool = True, head: str = HEAD) -> tuple[int, str, float]:
    """Status, output, and seconds of a job, less those of the start of Python and torch."""
    program = tmp_path / "program.py"
    program.write_text(head + textwrap.dedent(text))
    command = ["mpirun", "-np", str(ranks), sys.executable, *(["-m", "morse"] if runner else []), str(program)]
    environment = {**os.environ, "MORSE_QUIET": "1", "OMP_NUM_THREADS": "1"}
    # The program says when it has started.
    start = time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    marks = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("AT ")]
    return done.returncode, done.stdout, time.monotonic() - max(marks, default=start)


def check(result: tuple[int, str, float], status: int, *texts: str, seconds: float = 10) -> None:
    code, output, time_taken = result
    assert code == status, output
    for text in texts:
        assert text in output, output
    assert time_taken < seconds, output


@pytest.mark.parametrize("runner", [True, False])
def test_an_exception(tmp_path: pathlib.Path, runner: bool) -> None:
    result = run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, warm_start=0)
        passes(model, 1)
        if rank == 1: raise ValueError("the reason")
        passes(model, 100000)
    """, runner=runner)
    check(result, 1, "Traceback", "ValueError: the reason")


def test_a_status(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, warm_start=0)
        if rank == 1: sys.exit(3)
        passes(model, 100000)
    """), 3)


def test_the_end_without_a_fault(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, warm_start=0)
        passes(model)
        print("done", rank)
        sys.exit(0)
    """), 0, "done 0", "done 1")


def test_a_killed_rank(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, warm_start=0)
        passes(model, 1)
        if rank == 1: os.kill(os.getpid(), 9)
        passes(model, 100000)
    """), 128 + signal.SIGKILL, "signal 9")


def test_a_rank_that_stays_away(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, warm_start=0)
        passes(model)
        if rank == 1: time.sleep(60)
        passes(model, 1)
    """), 75, "no progress for 4 s", "waiting for rank 1")


def test_models_that_differ(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = net(9 + rank)
        optimizer = morse.torch.DistributedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model.named_parameters())
    """), 64, "the tensors differ between ranks", "where")


def test_models_of_ddp_that_differ(tmp_path: pathlib.Path) -> None:
    """DDP itself compares shapes."""
    code, output, seconds = run(tmp_path, "ddp(net(9 + rank))\n")
    assert code != 0 and "Traceback" in output and seconds < 10


def test_codecs_that_differ(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        model = ddp(net())
        morse.torch.compress(model, "one-bit" if rank == 0 else "multi-bit", warm_start=0)
        passes(model)
    """), 64, "the codec differs between ranks")


def test_two_models_in_another_order(tmp_path: pathlib.Path) -> None:
    check(run(tmp_path, """
        models = [net(), net()]
        optimizers = [
            morse.torch.DistributedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model.named_parameters())
            for model in models]
        for index in ((0, 1) if rank == 0 else (1, 0)):
            passes(models[index], 1)
            optimizers[index].step()
    """), 75, "no progress for 4 s")


def test_another_launcher(tmp_path: pathlib.Path) -> None:
    """As torchrun starts processes: each alone, with a number in the environment."""
    program = tmp_path / "program.py"
    program.write_text(HEAD)
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
