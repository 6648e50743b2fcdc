"""Local steps: ranks train by themselves and exchange, now and then, how far their models have moved."""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch

from .. import _report
from .._library import MorseError, demand_sum
from .._stream import Counts, Stream
from .._world import world
from . import _layout, _state


class LocalSteps:
    """Wraps an optimizer: after every ``steps`` steps the mean of the changes of all ranks' models moves the common model.

    The common model x is that of the last exchange. A rank's change is d = x - its own parameters; with the mean of the changes
    m ← outer_momentum · m + mean(d) and x ← x - outer_rate · (mean(d) + outer_momentum · m), and every rank goes on from x.
    Changes travel by a codec with error feedback. With one step, an outer rate of 1 and no momentum, this is the mean of the models.

    Paper: Douillard et al. 2023, "DiLoCo: distributed low-communication training of language models", algorithm 1 with the outer
    optimizer SGD with Nesterov momentum.

    Args:
      model: The model, not in DDP, with the same parameters on all ranks (``broadcast_parameters``).
      optimizer: The inner optimizer; its state stays on the rank.
      steps: The number of steps between exchanges.
      outer_rate: The learning rate of the common model.
      outer_momentum: Its Nesterov momentum.
      codec: As for ``compress``.
      vectors: As for ``compress``.
      seed: Of codes with random numbers.
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int = 30, outer_rate: float = 0.7,
        outer_momentum: float = 0.5, codec: str = "one-bit", *, vectors: str = "auto", seed: int = 1, name: Optional[str] = None,
    ) -> None:
        if steps < 1:
            raise MorseError(f"steps is a number from 1, not {steps}")
        if not 0 <= outer_momentum < 1 or outer_rate <= 0:
            raise MorseError(f"outer_rate is above 0 and outer_momentum in 0 ..< 1, not {outer_rate} and {outer_momentum}")
        if isinstance(model, torch.nn.parallel.DistributedDataParallel):
            raise MorseError("LocalSteps takes the model itself: DDP would exchange the gradients of every step")
        self.model, self.optimizer, self.steps = model, optimizer, steps
        self.outer_rate, self.outer_momentum = outer_rate, outer_momentum
        named = dict(model.named_parameters())
        specs = _layout.specs(model, named.items(), vectors)
        self._parameters = {spec.name: named[spec.name] for spec in specs}
        for key, parameter in self._parameters.items():
            if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
                raise MorseError(
                    f"LocalSteps: {key} is of {parameter.dtype} on {parameter.device}; only float32 on the CPU is exchanged")
        self._name = name or type(model).__name__
        demand_sum("LocalSteps", codec)
        self._stream = Stream(world(), codec, specs, overlap="off", seed=seed)
        _report.add(self._name, self._stream)
        _report.install()
        count = self._stream.count
        self.step_count = self.exchange_count = 0
        self.common, self.momentum = torch.empty(count), torch.zeros(count)
        self._change = torch.empty(count)
        self._gather(self.common)
        world().check_equal(f"the start of {self._name}", self.common.numpy().tobytes())

    def _gather(self, flat: torch.Tensor) -> None:
        for key, parameter in self._parameters.items():
            offset = self._stream.offsets[key]
            flat[offset : offset + parameter.numel()].copy_(parameter.detach().reshape(-1))

    def _scatter(self, flat: torch.Tensor) -> None:
        with torch.no_grad():
            for key, parameter in self._parameters.items():
                offset = self._stream.offsets[key]
                parameter.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        """Makes a step of the inner optimizer; every ``steps`` calls, exchanges. Collective then."""
        result = self.optimizer.step(closure) if closure is not None else self.optimizer.step()
        self.step_count += 1
        if self.step_count % self.steps == 0:
            self.exchange()
        return result

    def exchange(self) -> None:
        """Moves the common model by the mean of the changes, and goes on from it. Collective."""
        self._gather(self._change)
        torch.sub(self.common, self._change, out=self._change)
        address = self._change.data_ptr()
        self._stream.begin(self.exchange_count)
        self._stream.write(address, 0, self._stream.count, 1 / self._stream.world.size)
        self._stream.finish([(address, 0, self._stream.count)])
        self.momentum.mul_(self.outer_momentum).add_(self._change)
        self.common.sub_(self._change, alpha=self.outer_rate).sub_(self.momentum, alpha=self.outer_rate * self.outer_momentum)
        self._scatter(self.common)
        self.exchange_count += 1

    def state_dict(self) -> dict[str, Any]:
        """This rank's part of the state, to be saved by every rank besides the model and the inner optimizer. Local."""
        exchange = _state.part(
            self._stream.world, self.exchange_count, self._stream.codec, self._stream.tensors, self._stream)
        return {
            "exchange": exchange, "step": self.step_count, "common": self.common.clone(), "momentum": self.momentum.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` gave on this rank, before the first step. Collective."""
        _state.resume(self._name, self._stream, state["exchange"])
        self.step_count, self.exchange_count = int(state["step"]), int(state["exchange"]["step"])
        self.common.copy_(state["common"])
        self.momentum.copy_(state["momentum"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients."""
        self.optimizer.zero_grad(set_to_none)

    @property
    def param_groups(self) -> Any:
        """Those of the inner optimizer."""
        return self.optimizer.param_groups

    def counters(self) -> Counts:
        """What this rank has sent so far."""
        return self._stream.counters()
