"""The communication hook of DistributedDataParallel: one stream for the whole model."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, Optional

import numpy
import torch
import torch.distributed as dist

from .. import _ending, _library, _report
from .._library import MorseError
from .._stream import Counts, Stream, TensorSpec
from .._timeline import Timeline, clock
from .._watch import EVERY, ResidualWatch
from .._world import World
from . import _layout, _state
from ._buffers import Staging, staging


class Compression:
    """What the hook of one model keeps between steps."""

    def __init__(
        self, model: torch.nn.parallel.DistributedDataParallel, joined: World, codec: str, warm_start: int, start: str, name: str,
        options: dict[str, Any], vectors: str, timeline: Optional[Timeline] = None,
    ) -> None:
        self.codec, self.warm_start, self.start, self.name = codec, warm_start, start, name
        self.step = 0  # The number of exchanges so far.
        self._world, self._options = joined, options
        self._names = {id(parameter): key for key, parameter in model.module.named_parameters()}
        self._specs = _layout.specs(model.module, model.module.named_parameters(), vectors)
        self._stream: Optional[Stream] = None
        self._loaded: Optional[dict[str, Any]] = None
        self._order: list[str] = []
        self._last_order: list[str] = []
        self._work: list[_Work] = []
        self._stagings: dict[int, Staging] = {}
        self._plans: dict[tuple[int, tuple[int, ...]], list[tuple[int, int, int]]] = {}
        self._is_active = False
        self._watch = ResidualWatch(codec)
        self._timeline = timeline
        # When the last exchange ended, on the library's clock.
        self._rested: Optional[float] = None
        # What is kept for a whole gradient has no order of its own.
        self._moves = not _library.brings_change(codec)
        _report.expect(name, codec)
        _report.install()

    # ---- What is asked of it

    @property
    def is_engaged(self) -> bool:
        """Whether gradients have been exchanged by the codec itself, after the warm start."""
        return self._stream is not None and self._stream.codec == self.codec and self.step > 0

    @property
    def names(self) -> list[str]:
        """The parameters, in the order in which they travel."""
        return [spec.name for spec in self._specs]

    def counters(self) -> Optional[Counts]:
        """What this rank has sent so far; None before the first step."""
        return self._stream.counters() if self._stream else None

    def state_dict(self) -> dict[str, Any]:
        """This rank's part of the state, to be saved by every rank: plain numbers, lists, strings and tensors. Local."""
        if self._loaded is not None:
            return self._loaded
        codec = self._stream.codec if self._stream else self._codec_now()
        return _state.part(self._world, self.step, codec, self._specs, self._stream)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` gave on this rank, before the first step; a resumed run is the unbroken one, bit for bit.

        Raises:
          MorseError: If the state is of another model, rank or number of ranks (``merge`` makes it fit), or steps have been made.
        """
        if self._stream is not None:
            raise MorseError(
                f"{self.name}: load_state_dict comes before the first step; make a new DDP object, compress it, then load")
        self._specs = _state.fitting(self.name, self._world, self._specs, state)
        self._loaded, self.step = state, int(state["step"])

    # ---- The hook

    def _codec_now(self) -> str:
        return self.start if self.step < self.warm_start else self.codec

    def _begin(self) -> Stream:
        codec = self._codec_now()
        if self._stream is None:
            # A loaded state may have been saved just before a change of the codec.
            first = str(self._loaded["codec"]) if self._loaded else codec
            self._stream = Stream(
                self._world, first, self._specs, records_events=self._timeline is not None, **self._options)
            _report.add(self.name, self._stream)
            if self._loaded:
                _state.restore(self._stream, self._loaded)
                self._loaded = None
        if self._stream.codec != codec:
            self._stream.set_codec(codec)
        self._stream.begin(self.step)
        self._is_active, self._work, self._order = True, [], []
        return self._stream

    def receive(self, bucket: Any) -> "torch.futures.Future[torch.Tensor]":
        """Takes the next bucket of a backward pass; its future is complete when the last one has come."""
        try:
            return self._receive(bucket)
        except BaseException as error:
            self._is_active = False
            _ending.note(error)
            raise

    def _receive(self, bucket: Any) -> "torch.futures.Future[torch.Tensor]":
        buffer = bucket.buffer()
        if buffer.is_sparse:
            raise MorseError(
                f"{self.name}: a gradient is sparse, which the codec cannot exchange: make the embedding with sparse=False")
        if bucket.index() == 0 and self._is_active:
            raise MorseError(f"{self.name}: a backward pass began while the exchange of another one was under way")
        stream = self._begin() if bucket.index() == 0 else self._stream
        if stream is None or not self._is_active:
            raise MorseError(f"{self.name}: the exchange ended with an error before this bucket")
        held = self._stagings.get(bucket.index())
        fresh = staging(buffer)
        # The copies of a bucket are kept from step to step, as long as it is of one kind.
        if held is None or type(held) is not type(fresh):
            held = self._stagings[bucket.index()] = fresh
        if self._timeline:
            self._timeline.mark(f"bucket {bucket.index()}", clock())
        held.fetch(buffer)
        parameters = bucket.parameters()
        work = _Work(held, buffer, self._plan(stream, bucket.index(), parameters), held.future())
        self._work.append(work)
        self._order += [self._names[id(parameter)] for parameter in parameters]
        self._write(stream, is_last=bucket.is_last())
        if bucket.is_last():
            last, step, tensors = clock(), self.step, stream.tensors
            self._finish(stream)
            if self._timeline:
                self._draw(self._timeline, step, last, stream, tensors)
        return work.future

    def _draw(self, timeline: Timeline, step: int, last: float, stream: Stream, tensors: list[TensorSpec]) -> None:
        """Adds a step to the timeline, whose last bucket came at a time, and whose tensors lay in this order."""
        ended = clock()
        if self._rested is not None:
            timeline.span("forward and backward", self._rested, last, step=step)
        timeline.span("rest of the exchange", last, ended, step=step)
        timeline.exchange(stream.events(), tensors)
        self._rested = clock()

    def _plan(self, stream: Stream, index: int, parameters: list[torch.Tensor]) -> list[tuple[int, int, int]]:
        """The runs of a bucket: place in the bucket, place in the layout, count."""
        key = (index, tuple(id(parameter) for parameter in parameters))
        if key in self._plans:
            return self._plans[key]
        runs: list[tuple[int, int, int]] = []
        place = 0
        for parameter in parameters:
            name = self._names.get(id(parameter))
            if name is None:
                raise MorseError(
                    f"{self.name}: DDP has a parameter of shape {list(parameter.shape)} that the model had not at compress()")
            count = parameter.numel()
            if count > 0 and name not in stream.offsets:
                raise MorseError(
                    f"{self.name}: '{name}' wanted no gradient when compress() was called: make a new DDP object")
            if count > 0:
                offset = stream.offsets[name]
                if runs and runs[-1][0] + runs[-1][2] == place and runs[-1][1] + runs[-1][2] == offset:
                    runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + count)
                else:
                    runs.append((place, offset, count))
            place += count
        self._plans[key] = runs
        return runs

    def _write(self, stream: Stream, is_last: bool) -> None:
        """Passes on the buckets that have come to the host; all of them at the last one."""
        for work in self._work:
            if work.is_written:
                continue
            if not is_last and not work.staging.is_there():
                return
            address = work.staging.host().data_ptr()
            for place, offset, count in work.runs:
                stream.write(address + 4 * place, offset, count, 1 / self._world.size)
            work.is_written = True

    def _finish(self, stream: Stream) -> None:
        pieces = []
        for work in self._work:
            address = work.staging.host().data_ptr()
            pieces += [(address + 4 * place, offset, count) for place, offset, count in work.runs]
        watched = self._gradient_norm() if self._is_watched(stream) else None
        stream.finish(pieces)
        self._is_active = False
        if watched is not None:
            self._look(stream, watched)
        for work in self._work:
            work.staging.put_back()
        self.step += 1
        self._follow(stream)
        done, self._work = self._work, []
        for work in done:
            work.staging.complete(work.future, work.buffer)

    def _is_watched(self, stream: Stream) -> bool:
        return self._watch.is_needed and self._world.size > 1 and stream.codec == self.codec and self.step % EVERY == 0

    def _gradient_norm(self) -> float:
        """The norm of this rank's contribution."""
        squares = sum(float(torch.dot(values, values)) for values in (work.staging.host().view(-1) for work in self._work))
        return math.sqrt(squares) / self._world.size if math.isfinite(squares) else math.inf

    def _look(self, stream: Stream, gradient: float) -> None:
        residual = stream.residual()
        warning = self._watch.add(math.sqrt(float(numpy.dot(residual, residual))), gradient)
        if warning and self._world.rank == 0:
            print(f"morse: {self.name}, step {self.step}: {warning}", file=sys.stderr)

    def _follow(self, stream: Stream) -> None:
        """Takes on the order of the buckets once it has been the same twice: what is final first travels first."""
        if not self._moves:
            return
        order = [name for name in self._order if name in stream.offsets]
        if order == self._last_order and order != self.names and len(order) == len(self._specs):
            specs = {spec.name: spec for spec in self._specs}
            arranged = [specs[name] for name in order]
            stream.arrange(arranged)
            self._specs, self._plans = arranged, {}
        self._last_order = order


@dataclasses.dataclass
class _Work:
    """A bucket of the backward pass under way."""

    staging: Staging
    buffer: torch.Tensor
    runs: list[tuple[int, int, int]]
    future: "torch.futures.Future[torch.Tensor]"
    is_written: bool = False


def hook(state: Compression, bucket: dist.GradBucket) -> "torch.futures.Future[torch.Tensor]":
    """What DDP calls for each bucket."""
    return state.receive(bucket)


# DDP compares the annotations of a hook with the types themselves, and these are text here.
hook.__annotations__ = {"bucket": dist.GradBucket, "return": torch.futures.Future[torch.Tensor]}
