"""How ranks find each other for gloo, and what is said about cores."""

from __future__ import annotations

import os

import pytest
import torch

import morse
from morse.torch import _process_group
from support import start


def setup_module() -> None:
    start()


def test_interfaces() -> None:
    found = _process_group.interfaces()
    assert ("lo", "127.0.0.1") in found
    assert not found[0][1].startswith("127.") or all(address.startswith("127.") for _, address in found)
    assert _process_group._interface("127.0.0.1") == "lo"
    assert _process_group._interface("192.0.2.1") is None


def test_rank_zero_is_told_from_others() -> None:
    greeter = _process_group._Greeter(b"secret of this job")
    try:
        assert _process_group.reached(["127.0.0.1"], greeter.port, b"secret of this job") == ("127.0.0.1", "127.0.0.1")
        assert _process_group.reached(["127.0.0.1"], greeter.port, b"secret of another") is None
        # A loopback address at which nobody listens comes first.
        assert _process_group.reached(["127.7.7.7", "127.0.0.1"], greeter.port, b"secret of this job") is not None
    finally:
        greeter.close()
    assert _process_group.reached(["127.0.0.1"], greeter.port, b"secret of this job") is None


def test_gloo_has_the_ranks_of_mpi() -> None:
    assert torch.distributed.get_rank() == morse.rank() and torch.distributed.get_world_size() == morse.size()
    # A second start changes nothing.
    morse.torch.init_process_group()
    total = torch.tensor([float(morse.rank())])
    torch.distributed.all_reduce(total)
    assert total.item() == morse.size() * (morse.size() - 1) / 2


def test_too_few_cores_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    _process_group._warn_of_binding(morse.init())
    text = capsys.readouterr().err
    is_told = "--bind-to none" in text and "4 threads" in text and "1 core:" in text
    assert is_told == (morse.size() > 1 and morse.local_rank() == 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    _process_group._warn_of_binding(morse.init())
    assert capsys.readouterr().err == ""
