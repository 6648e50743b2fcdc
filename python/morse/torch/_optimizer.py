"""An optimizer whose steps take the mean of the gradients of all ranks, without DDP."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Iterable, Optional

import torch

from .. import _report
from .._library import MorseError, demand_sum
from .._stream import Counts, Stream, TensorSpec
from .._world import world
from . import _layout, _state
from ._buffers import Staging, staging


class DistributedOptimizer(torch.optim.Optimizer):
    """Wraps an optimizer: ``step()`` exchanges the gradients by a codec with error feedback, then makes the optimizer's step.

    With torch 2.1 or later a gradient is passed on as soon as it is final, with earlier versions all at ``step()``. Start all
    ranks from the same parameters (``broadcast_parameters``).

    Args:
      optimizer: The optimizer, which stays the owner of its state: save it as ever.
      named_parameters: ``model.named_parameters()``; those that want a gradient are exchanged.
      codec: As for ``compress``.
      backward_passes_per_step: The number of backward passes whose gradients are added before a step.
      warm_start: The number of first steps with floats.
      overlap: As for ``compress``.
      vectors: "plain" for vectors as floats, or "coded".
      seed: Of codes with random numbers.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
        codec: str = "one-bit", *, backward_passes_per_step: int = 1, warm_start: int = 0, overlap: str = "auto", vectors: str = "coded", seed: int = 1,
        name: str = "optimizer",
    ) -> None:
        if backward_passes_per_step < 1:
            raise MorseError(f"backward_passes_per_step is a number from 1, not {backward_passes_per_step}")
        self.optimizer = optimizer
        self.defaults, self.state, self.param_groups = optimizer.defaults, optimizer.state, optimizer.param_groups
        named = [(key, parameter) for key, parameter in named_parameters if parameter.requires_grad]
        known = {id(parameter) for _, parameter in named}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad and id(parameter) not in known:
                    raise MorseError(
                        f"{name}: a parameter of shape {list(parameter.shape)} of the optimizer is not among named_parameters")
        specs = _layout.specs(torch.nn.Module(), named, vectors)
        self._parameters = {key: parameter for key, parameter in named if parameter.numel() > 0}
        self._name, self._codec, self._warm_start = name, codec, warm_start
        self._passes = backward_passes_per_step
        demand_sum("DistributedOptimizer", codec)
        self._stream = Stream(world(), codec if warm_start == 0 else "none", specs, overlap=overlap, seed=seed)
        _report.add(name, self._stream)
        _report.install()
        self._exchanges = 0
        self._is_active = self._is_synchronized = False
        self._stagings: dict[str, Staging] = {}
        self._written: set[str] = set()
        self._counts = dict.fromkeys(self._parameters, 0)
        for key, parameter in self._parameters.items():
            register = getattr(parameter, "register_post_accumulate_grad_hook", None)
            if register is not None:
                weakref.finalize(self, register(self._ready(key)).remove)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.__dict__["optimizer"], key)

    def _ready(self, key: str) -> Callable[[torch.Tensor], None]:
        # A parameter outlives an optimizer that another one has replaced.
        reference = weakref.ref(self)

        def final(_: torch.Tensor) -> None:
            optimizer = reference()
            if optimizer is not None:
                optimizer._arrive(key)
        return final

    def _arrive(self, key: str) -> None:
        self._counts[key] += 1
        if self._counts[key] == self._passes:
            self._write(key)
        elif self._counts[key] > self._passes:
            raise MorseError(
                f"{self._name}: the gradient of {key} came {self._counts[key]} times before step(); "
                f"backward_passes_per_step is {self._passes}")

    def _begin(self) -> None:
        if self._is_active:
            return
        if self._exchanges >= self._warm_start and self._stream.codec != self._codec:
            self._stream.set_codec(self._codec)
        self._stream.begin(self._exchanges)
        self._is_active = True
        self._written.clear()

    def _write(self, key: str) -> None:
        self._begin()
        gradient = self._parameters[key].grad
        if gradient is None or key in self._written:
            return
        if gradient.layout != torch.strided:
            raise MorseError(
                f"{self._name}: the gradient of {key} is sparse, which the codec cannot exchange: make the embedding with "
                "sparse=False")
        if not gradient.is_contiguous():
            gradient = self._parameters[key].grad = gradient.contiguous()
        fresh = staging(gradient)
        held = self._stagings.get(key)
        if held is None or type(held) is not type(fresh):
            held = self._stagings[key] = fresh
        held.fetch(gradient.view(-1))
        self._stream.write(
            held.host().data_ptr(), self._stream.offsets[key], gradient.numel(), 1 / self._stream.world.size)
        self._written.add(key)

    def synchronize(self) -> None:
        """Finishes the exchange: after it ``.grad`` is the mean over the ranks, for clipping. Collective.

        ``step()`` calls it unless that was done.
        """
        if self._is_synchronized:
            return
        self._begin()
        for spec in self._stream.tensors:
            parameter = self._parameters[spec.name]
            if parameter.grad is None:
                # Another rank may have one.
                parameter.grad = torch.zeros_like(parameter)
            self._write(spec.name)
        pieces = [
            (self._stagings[spec.name].host().data_ptr(), self._stream.offsets[spec.name], spec.count)
            for spec in self._stream.tensors]
        self._is_active = False
        self._stream.finish(pieces)
        for held in self._stagings.values():
            held.put_back()
        self._exchanges += 1
        self._counts = dict.fromkeys(self._parameters, 0)
        self._is_synchronized = True

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        """Exchanges the gradients, if that has not been done, and makes the optimizer's step. Collective."""
        if closure is not None:
            raise MorseError(f"{self._name}: closures are not supported; call backward() before step()")
        self.synchronize()
        self._is_synchronized = False
        return self.optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients."""
        if self._is_active:
            raise MorseError(f"{self._name}: zero_grad() while an exchange is under way: call step() or synchronize() before")
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of the wrapped optimizer."""
        return dict(self.optimizer.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of the wrapped optimizer."""
        self.optimizer.load_state_dict(state_dict)
        self.state, self.param_groups = self.optimizer.state, self.optimizer.param_groups

    def exchange_state_dict(self) -> dict[str, Any]:
        """This rank's part of what codes have left behind, to be saved by every rank, as ``Compression.state_dict``. Local."""
        return _state.part(self._stream.world, self._exchanges, self._stream.codec, self._stream.tensors, self._stream)

    def load_exchange_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``exchange_state_dict`` gave on this rank, before the first step. Collective."""
        _state.resume(self._name, self._stream, state)
        self._exchanges = int(state["step"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: the exchange knows its tensors from the start."""
        raise MorseError(f"{self._name}: a group cannot be added any more; make a new DistributedOptimizer")

    def counters(self) -> Counts:
        """What this rank has sent so far."""
        return self._stream.counters()


__all__ = ["DistributedOptimizer", "TensorSpec"]
