"""Sums of arrays, worlds, and what is said about mistakes."""

from __future__ import annotations

import numpy
import pytest
import torch

import morse
from morse import _arrays, _report
from morse._stream import Stream, TensorSpec
from support import left_of, start


def setup_module() -> None:
    start()


def contribution(rank: int, step: int = 0, shape: tuple[int, ...] = (13, 47)) -> numpy.ndarray:  # type: ignore[type-arg]
    return numpy.random.default_rng(100 * step + rank).standard_normal(shape).astype(numpy.float32)


def test_floats_are_summed() -> None:
    expected = sum(contribution(rank) for rank in range(morse.size()))
    array = contribution(morse.rank())
    assert morse.all_reduce(array, "floats", "none", op="sum") is array
    assert numpy.abs(array - expected).max() < 1e-5
    tensor = torch.from_numpy(contribution(morse.rank()))
    morse.all_reduce([tensor], "tensor", "none")
    assert (tensor.numpy() - expected / morse.size() < 1e-5).all()
    new = morse.all_reduce(contribution(morse.rank()).astype(numpy.float64), "new", "none", op="sum", in_place=False)
    assert numpy.abs(new - expected).max() < 1e-5
    # By DLPack, as JAX gives its arrays.
    given = torch.from_numpy(contribution(morse.rank()))
    (other,) = morse.all_reduce([given], "by DLPack", "none", op="sum", in_place=False)
    assert numpy.abs(other - expected).max() < 1e-5 and (given.numpy() == contribution(morse.rank())).all()


@pytest.mark.parametrize("codec", ["one-bit", "multi-bit:bits=4"])
def test_what_is_not_sent_comes_later(codec: str) -> None:
    total, expected = numpy.zeros((13, 47)), numpy.zeros((13, 47))
    for step in range(40):
        arrays = [contribution(morse.rank(), step % 3), numpy.full(5, 1.0 + morse.rank(), numpy.float32)]
        morse.all_reduce(arrays, f"later {codec}", codec)
        morse.init().check_equal("the sum", arrays[0].tobytes())
        total += arrays[0]
        expected += sum(contribution(rank, step % 3) for rank in range(morse.size())) / morse.size()
    left = left_of(_arrays._streams[f"later {codec}"][0])
    assert numpy.abs(total + left[: 13 * 47].reshape(13, 47) - expected).max() < 1e-4
    assert morse.size() == 1 or numpy.abs(left).max() > 0.01


def test_mistakes_are_said() -> None:
    array = numpy.zeros(4, numpy.float32)
    for bad, match in [
        (numpy.zeros(4), "float64"), (numpy.zeros((4, 4), numpy.float32)[:, 1], "not contiguous"), ([1.0], "float"),
        (torch.zeros(3, dtype=torch.float16), "float16"), (torch.zeros(3, 3).t()[:2], "not contiguous"), ([], "empty"),
    ]:
        with pytest.raises(morse.MorseError, match=match):
            morse.all_reduce(bad, "bad")
    with pytest.raises(morse.MorseError, match="needs a name"):
        morse.all_reduce(array, "")
    with pytest.raises(morse.MorseError, match="did you mean"):
        morse.all_reduce(array, "unknown", "none-bit")
    with pytest.raises(morse.MorseError, match="needs sums"):
        morse.all_reduce(array, "change", "fetch-sgd")
    morse.all_reduce(array, "shape", "none")
    with pytest.raises(morse.MorseError, match="the shapes were"):
        morse.all_reduce(numpy.zeros(5, numpy.float32), "shape", "none")
    with pytest.raises(morse.MorseError, match="another codec"):
        morse.all_reduce(array, "shape", "one-bit")
    read_only = numpy.zeros(4, numpy.float32)
    read_only.flags.writeable = False
    with pytest.raises(morse.MorseError, match="read-only"):
        morse.all_reduce(read_only, "bad")


def test_ranks_that_differ_are_named() -> None:
    if morse.size() == 1:
        return
    with pytest.raises(morse.MorseError, match=r"rank \d on .*has.*where"):
        morse.all_reduce(numpy.zeros(4 + morse.rank(), numpy.float32), "differs")
    with pytest.raises(morse.MorseError, match="codec differs"):
        morse.all_reduce(numpy.zeros(4, numpy.float32), "codec differs", "one-bit" if morse.rank() else "none")
    with pytest.raises(morse.MorseError, match="a thing differs"):
        morse.init().check_equal("a thing", bytes([morse.rank() == 1]))


def test_streams_say_what_is_wrong() -> None:
    stream = Stream(morse.init(), "one-bit", [TensorSpec("a", (4, 8)), TensorSpec("b", (0,)), TensorSpec("c", ())], overlap="off")
    values = numpy.ones(33, numpy.float32)
    with pytest.raises(morse.MorseError, match="begin one first"):
        stream.write(values.ctypes.data, 0, 33)
    stream.begin(0)
    with pytest.raises(morse.MorseError, match="finish it first"):
        stream.begin(1)
    with pytest.raises(morse.MorseError, match="not in an array of 33"):
        stream.write(values.ctypes.data, 30, 4)
    stream.write(values.ctypes.data, 30, 3)
    with pytest.raises(morse.MorseError, match="written before"):
        stream.write(values.ctypes.data, 31, 1)
    with pytest.raises(morse.MorseError, match="overlap"):
        stream.finish([(values.ctypes.data, 0, 20), (values.ctypes.data, 19, 2)])
    with pytest.raises(morse.MorseError, match="not made restorable"):
        stream.discard()
    with pytest.raises(morse.MorseError, match="under way"):
        stream.set_codec("none")
    stream.finish([(values.ctypes.data, 0, 33)])
    # What was not written counts as zeros.
    assert (values[:24] == 0).all() or morse.size() > 1
    with pytest.raises(morse.MorseError, match="no tensor x 4"):
        stream.arrange([TensorSpec("x", (4,))])
    stream.release()
    with pytest.raises(morse.MorseError, match="no stream"):
        stream.begin(1)


def test_discard_leaves_no_trace() -> None:
    results = []
    for discards in (False, True):
        stream = Stream(morse.init(), "one-bit", [TensorSpec("a", (9, 33))], overlap="off", is_restorable=True)
        total = numpy.zeros(9 * 33, numpy.float32)
        for step in range(4):
            if discards:
                stream.begin(step)
                bad = numpy.full(9 * 33, 7, numpy.float32)
                stream.write(bad.ctypes.data, 0, bad.size)
                stream.discard()
            values = contribution(morse.rank(), step, (9 * 33,))
            stream.begin(step)
            stream.write(values.ctypes.data, 0, values.size)
            stream.finish([(values.ctypes.data, 0, values.size)])
            total += values
        results.append(total)
        stream.release()
    assert (results[0] == results[1]).all()


def test_broadcasts() -> None:
    joined = morse.init()
    for root in range(joined.size):
        assert joined.broadcast_bytes(bytes([root]) * (root + 3), root) == bytes([root]) * (root + 3)
    assert joined.broadcast_bytes(b"") == b""
    assert joined.gather_bytes(str(joined.rank).encode()) == [str(rank).encode() for rank in range(joined.size)]
    with pytest.raises(morse.MorseError, match="no rank 99"):
        joined.broadcast_bytes(b"", 99)


def test_bytes_for_people() -> None:
    assert [_report.bytes_text(count) for count in (0, 999, 1234, 56789, 2.15e6, 3e9)] == [
        "0 bytes", "999 bytes", "1.2 kB", "57 kB", "2.1 MB" if f"{2.15:.1f}" == "2.1" else "2.2 MB", "3.0 GB"]
