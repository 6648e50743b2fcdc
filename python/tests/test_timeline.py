"""The timeline of a rank."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import torch

import morse
import morse.torch
from support import Crossed, ddp, loss, start


def setup_module() -> None:
    start()


def events(path: pathlib.Path) -> list[dict[str, Any]]:
    """What a file has before its end is written."""
    found: list[dict[str, Any]] = json.loads(path.read_text().rstrip().rstrip(",") + "]")
    return found


def run(path: pathlib.Path, codec: str, overlap: str, steps: int = 4) -> tuple[list[dict[str, Any]], int]:
    """The timeline of a few steps of a model whose exchange has several parts, and the number of its values."""
    torch.manual_seed(3)
    model = ddp(Crossed(width=500), bucket=400_000)
    morse.torch.compress(model, codec, warm_start=0, overlap=overlap, timeline=str(path / "rank-%d.json"))
    for step in range(steps):
        model.zero_grad()
        loss(model, step, morse.rank()).backward()
    return events(path / f"rank-{morse.rank()}.json"), sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("codec", ["one-bit", "none"])
def test_every_value_is_decoded_in_every_step(tmp_path: pathlib.Path, codec: str) -> None:
    found, count = run(tmp_path, codec, "off")
    rests = [event for event in found if event["name"] == "rest of the exchange"]
    assert [event["args"]["step"] for event in rests] == [0, 1, 2, 3]
    assert all(event["pid"] == morse.rank() for event in found)
    for rest in rests:
        inside = [
            event for event in found
            if event["name"] in ("decode", "deliver") and rest["ts"] <= event["ts"] <= rest["ts"] + rest["dur"]]
        values = {place for event in inside for place in range(*event["args"]["values"])}
        assert len(values) == (count if morse.size() > 1 or inside else 0)


def test_in_one_host_nothing_is_sent_but_read_in_place(tmp_path: pathlib.Path) -> None:
    found, _ = run(tmp_path, "one-bit", "off")
    assert morse.init().host_count == 1
    assert [event for event in found if event["name"] == "send"] == []


@pytest.mark.parametrize("overlap", ["off", "inline"])
def test_what_is_hidden_behind_the_backward_pass_can_be_seen(tmp_path: pathlib.Path, overlap: str) -> None:
    if morse.size() == 1:
        pytest.skip("one rank exchanges nothing")
    found, _ = run(tmp_path, "one-bit", overlap)
    spans = [event for event in found if event["name"] == "forward and backward"]
    assert [event["args"]["step"] for event in spans] == [1, 2, 3]
    for span in spans:
        hidden = [
            event for event in found
            if event["name"] == "encode" and span["ts"] < event["ts"] and event["ts"] + event["dur"] < span["ts"] + span["dur"]]
        assert bool(hidden) == (overlap == "inline")
        buckets = [event for event in found if event["ph"] == "i" and span["ts"] < event["ts"] <= span["ts"] + span["dur"]]
        assert len(buckets) > 1


def test_a_file_for_each_rank(tmp_path: pathlib.Path) -> None:
    model = ddp(Crossed())
    with pytest.raises(morse.MorseError, match="names a file for each rank"):
        morse.torch.compress(model, timeline=str(tmp_path / "all.json"))
    with pytest.raises(morse.MorseError, match="cannot be written to .*no-folder"):
        morse.torch.compress(model, timeline=str(tmp_path / "no-folder" / "%d.json"))
