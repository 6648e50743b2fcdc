"""A transformer on characters, with DistributedOptimizer instead of DDP: no process group, no buckets.

    mpirun -np 4 --bind-to none python -m morse examples/pytorch/characters.py --text input.txt

Without a text, one is generated. The lines that end in "# Morse" differ from training by one process.
"""

import argparse
import pathlib
import time

import torch

import morse.torch


class Block(torch.nn.Module):
    """Attention to what came before, and a perceptron, each after a normalization."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.between = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
        self.perceptron = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.before(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.perceptron(self.between(x))


class Transformer(torch.nn.Module):
    """Predicts the next character at every place of a window."""

    def __init__(self, symbols: int, width: int, layers: int, heads: int, window: int) -> None:
        super().__init__()
        self.symbol, self.place = torch.nn.Embedding(symbols, width), torch.nn.Embedding(window, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.output = torch.nn.LayerNorm(width), torch.nn.Linear(width, symbols)
        self.register_buffer("mask", torch.full((window, window), float("-inf")).triu(1))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.symbol(text) + self.place.weight[: text.shape[1]]
        for block in self.blocks:
            x = block(x, self.mask)
        return self.output(self.norm(x))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--text")
parser.add_argument("--codec", default="one-bit")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--minibatch", type=int, default=8, help="windows of a step on each rank")
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--window", type=int, default=64)
options = parser.parse_args()

morse.torch.init()  # Morse
rank = morse.torch.rank()
text = pathlib.Path(options.text).read_text() if options.text else "the quick brown fox jumps over the lazy dog; " * 2000
symbols = sorted(set(text))
data = torch.tensor([symbols.index(character) for character in text])

torch.manual_seed(1)
model = Transformer(len(symbols), options.width, options.layers, 4, options.window)
morse.torch.broadcast_parameters(model.state_dict())  # Morse
optimizer = morse.torch.DistributedOptimizer(  # Morse
    torch.optim.Adam(model.parameters(), lr=1e-3), model.named_parameters(), options.codec, warm_start=options.steps // 10,
    vectors="plain")

start, draws = time.monotonic(), torch.Generator().manual_seed(1 + rank)
for step in range(options.steps):
    places = torch.randint(len(data) - options.window - 1, (options.minibatch,), generator=draws)
    windows = torch.stack([data[place:place + options.window + 1] for place in places])
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    loss.backward()
    optimizer.synchronize()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if rank == 0 and (step + 1) % 50 == 0:
        milliseconds = (time.monotonic() - start) / (step + 1) * 1000
        print(f"step {step + 1}  loss {loss.item():.3f}  {milliseconds:.0f} ms a step", flush=True)
