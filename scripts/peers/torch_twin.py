"""What the PyTorch twins of Morse's models have in common: specifications, activations, and names as in model.safetensors."""

import torch
from torch import nn
from torch.nn import functional


def parse(specification):
    """The name, the values and the keys of a specification such as cnn:20,50,500,activation=relu."""
    name, _, rest = specification.partition(":")
    parts = [part for part in rest.split(",") if part]
    keys = dict(part.split("=", 1) for part in parts if "=" in part)
    return name, [part for part in parts if "=" not in part], keys


def sizes_of(values):
    """Sizes of hidden layers: 512,512, or 7x2048 for seven layers of 2048."""
    sizes = []
    for value in values:
        count, _, size = value.rpartition("x")
        sizes += [int(size)] * int(count or 1)
    return sizes


def activation_of(keys):
    activations = {"relu": functional.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": gelu}
    return activations[keys.get("activation", "relu")]


def normalizes(keys, otherwise="none"):
    """Whether layers are normalized; on one rank norm=batch and norm=sync are the same."""
    return keys.get("norm", otherwise) != "none"


def dropout_of(keys):
    """What drops values in training, if any are dropped; it has no number and no parameters."""
    return nn.Dropout(float(keys.get("dropout", 0)))


def gelu(x):
    """GELU by the hyperbolic tangent, as Morse computes it."""
    try:
        return functional.gelu(x, approximate="tanh")
    except TypeError:  # PyTorch before 1.12
        return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def flatten(x):
    """A sample as its values; an image's pixel by pixel, in the order of Morse's memory."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).flatten(1)


class Twin(nn.Module):
    """A model whose modules with parameters are numbered from the input on, as in model.safetensors: layers.1, layers.2, …"""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict()

    def add(self, module):
        """Numbers a module; returns a function that calls it."""
        number = str(len(self.layers) + 1)
        self.layers[number] = module
        return lambda *inputs: self.layers[number](*inputs)
