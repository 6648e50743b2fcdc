"""Names, shapes and kinds of the parameters of a model."""

from __future__ import annotations

from typing import Iterable

import torch

from .._library import MorseError
from .._stream import TensorSpec

VECTORS = ("auto", "coded", "plain")


def specs(model: torch.nn.Module, named: Iterable[tuple[str, torch.nn.Parameter]], vectors: str) -> list[TensorSpec]:
    """The tensors of parameters that want a gradient, in the order in which a backward pass usually ends: the last one first.

    A row of a code is what feeds one output unit: of a weight of outputs × inputs × …, everything after the first dimension; of
    an embedding, the vector of a symbol.
    """
    if vectors not in VECTORS:
        raise MorseError(f"vectors is {', '.join(VECTORS)}, not '{vectors}'")
    plain = vectors == "plain" or (vectors == "auto" and not _is_perceptron(model))
    wanted = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    return [
        TensorSpec(name, tuple(parameter.shape), plain and parameter.dim() < 2) for name, parameter in reversed(wanted)
        if parameter.numel() > 0]


def _is_perceptron(model: torch.nn.Module) -> bool:
    """Whether every module with parameters of its own is a linear layer."""
    return all(
        isinstance(module, torch.nn.Linear) or not list(module.parameters(recurse=False)) for module in model.modules())
