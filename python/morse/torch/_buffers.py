"""Gradients as floats in the memory of the host: where they are already, converted, or copied from an accelerator."""

from __future__ import annotations

from typing import Any, Optional

import torch


class Staging:
    """How the gradients of one bucket come to the host and go back.

    ``fetch`` starts to bring them, ``host`` waits and returns floats on the host, and ``put_back`` brings sums that were written
    there to the bucket.
    """

    def fetch(self, bucket: torch.Tensor) -> None:
        """Starts to bring a bucket to the host."""
        raise NotImplementedError

    def is_there(self) -> bool:
        """Whether ``host`` would not wait."""
        return True

    def host(self) -> torch.Tensor:
        """The values, contiguous floats on the host."""
        raise NotImplementedError

    def put_back(self) -> None:
        """Brings what was written to the host's values to the bucket."""

    def future(self) -> "torch.futures.Future[Any]":
        """A future for the bucket."""
        return torch.futures.Future()

    def complete(self, future: "torch.futures.Future[Any]", bucket: torch.Tensor) -> None:
        """Completes a future with the bucket, once its sums are there."""
        future.set_result(bucket)


class InPlace(Staging):
    """Floats on the host: nothing is copied."""

    def fetch(self, bucket: torch.Tensor) -> None:
        self.bucket = bucket

    def host(self) -> torch.Tensor:
        return self.bucket


class Converted(Staging):
    """Values of other types on the host, through a copy as floats."""

    values: Optional[torch.Tensor] = None

    def fetch(self, bucket: torch.Tensor) -> None:
        self.bucket = bucket
        if self.values is None or self.values.numel() != bucket.numel():
            self.values = torch.empty(bucket.numel(), dtype=torch.float32)
        self.values.copy_(bucket.view(-1))

    def host(self) -> torch.Tensor:
        assert self.values is not None
        return self.values

    def put_back(self) -> None:
        self.bucket.view(-1).copy_(self.host())


class Pinned(Staging):
    """Values on an accelerator, through pinned memory of the host.

    Copies are on a stream of their own and overlap the backward pass. ``backend`` is ``torch.cuda`` or what offers the same functions: Stream, Event, stream, current_stream.
    """

    def __init__(self, backend: Any, copies: Any, pin: bool = True) -> None:
        self.backend, self.copies, self.pin = backend, copies, pin
        self.values: Optional[torch.Tensor] = None

    def fetch(self, bucket: torch.Tensor) -> None:
        self.bucket = bucket
        if self.values is None or self.values.numel() != bucket.numel():
            self.values = torch.empty(bucket.numel(), dtype=torch.float32, pin_memory=self.pin)
        # The gradients are final once the stream of the backward pass has come here.
        self.copies.wait_stream(self.backend.current_stream())
        with self.backend.stream(self.copies):
            self._copy(self.values, bucket.view(-1))
            self.event = self.backend.Event()
            self.event.record(self.copies)

    def _copy(self, destination: torch.Tensor, source: torch.Tensor) -> None:
        if source.device.type != "cpu":
            # Conversions happen on the accelerator: a copy that converts would not be asynchronous.
            source = source.float()
        destination.copy_(source, non_blocking=True)

    def is_there(self) -> bool:
        return bool(self.event.query())

    def host(self) -> torch.Tensor:
        self.event.synchronize()
        assert self.values is not None
        return self.values

    def put_back(self) -> None:
        assert self.values is not None
        with self.backend.stream(self.copies):
            self.bucket.view(-1).copy_(self.values.to(self.bucket.device, non_blocking=True))

    def future(self) -> "torch.futures.Future[Any]":
        return torch.futures.Future(devices=[self.bucket.device])

    def complete(self, future: "torch.futures.Future[Any]", bucket: torch.Tensor) -> None:
        # The future takes note of this stream, on which the copy is under way; autograd's stream waits for it.
        with self.backend.stream(self.copies):
            future.set_result(bucket)


_copies: dict[torch.device, Any] = {}


def staging(bucket: torch.Tensor) -> Staging:
    """How a bucket reaches the host."""
    if bucket.device.type == "cpu":
        return InPlace() if bucket.dtype == torch.float32 and bucket.is_contiguous() else Converted()
    backend = getattr(torch, bucket.device.type)
    if bucket.device not in _copies:
        _copies[bucket.device] = backend.Stream(bucket.device)
    return Pinned(backend, _copies[bucket.device])
