#!/usr/bin/python3
"""A rank of scripts/peers/torch-steps-network: steps of one model with each way of exchanging gradients, in turns.

    mpirun -np 4 python -m morse scripts/peers/torch-steps.py --model perceptron [--interface eth0 --bits 100000000]

Rank 0 prints a table, which that script explains. A way whose ranks end with different models, or with values that are not
finite, is an error and not a row.
"""

import argparse
import ast
import inspect
import pathlib
import sys
import time

import numpy
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

import morse.torch

TURN = 5  # Timed steps of a way before the next one's turn; a step that is not timed comes before.
LIMIT = 3  # Percent that the hook may cost where there is nothing to exchange.

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", choices=["perceptron", "transformer"], required=True)
parser.add_argument("--steps", type=int, default=20, help="timed steps of each way")
parser.add_argument("--warm-up", type=int, default=5, help="steps of each way before, at least 5")
parser.add_argument("--bucket", type=int, default=25, help="bucket_cap_mb of DDP, in MiB; PowerSGD has one bucket")
parser.add_argument("--interface", help="the interface whose bytes are counted")
parser.add_argument("--bits", type=float, help="per second on the links")
parser.add_argument("--low-rank", action="store_true", help="PowerSGD of rank 1, 2 and 4 by both")
parser.add_argument("--overhead", action="store_true", help="a step with the hook against one without")
options = parser.parse_args()


# ---- Models

def perceptron(minibatch):
    """The perceptron, and the loss of it on this rank's part of a minibatch of images that are noise."""
    def build():
        linear, relu = torch.nn.Linear, torch.nn.ReLU
        return torch.nn.Sequential(linear(784, 512), relu(), linear(512, 512), relu(), linear(512, 10))

    images, labels = torch.randn(minibatch, 784), torch.randint(10, (minibatch,))
    return build, lambda model: torch.nn.functional.cross_entropy(model(images), labels)


def transformer(minibatch):
    """The example's transformer, and the loss of it on this rank's windows of random symbols."""
    # The classes of the example, without its training.
    example = pathlib.Path(__file__).resolve().parents[2] / "examples" / "pytorch" / "characters.py"
    module = ast.parse(example.read_text())
    module.body = [statement for statement in module.body if isinstance(statement, (ast.Import, ast.ClassDef))]
    names = {}
    exec(compile(module, str(example), "exec"), names)
    symbols, window = 64, 64
    text = torch.randint(symbols, (minibatch, window + 1))

    def loss(model):
        return torch.nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    return lambda: names["Transformer"](symbols, width=320, layers=8, heads=4, window=window), loss


# ---- Ways

def distributed(network, one_bucket=False):
    """A model in DDP with its own buckets, or with one for everything."""
    first = dist._DEFAULT_FIRST_BUCKET_BYTES
    if one_bucket:
        # The hook of PowerSGD over gloo mixes up the messages of several buckets.
        dist._DEFAULT_FIRST_BUCKET_BYTES = 1 << 30
    try:
        more = {} if options.bucket == 25 and not one_bucket else {"bucket_cap_mb": 1000 if one_bucket else options.bucket}
        # The buffer, a mask, is the same everywhere: it need not travel in each step.
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        more["forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"] = False
        return DistributedDataParallel(network, **more)
    finally:
        dist._DEFAULT_FIRST_BUCKET_BYTES = first


def with_fp16(network):
    model = distributed(network)
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    return model


def with_power_sgd(columns):
    """PowerSGD of this rank, without the steps in floats that its authors begin with."""
    def wrap(network):
        model = distributed(network, one_bucket=True)
        state = powerSGD_hook.PowerSGDState(process_group=None, matrix_approximation_rank=columns, start_powerSGD_iter=2)
        model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
        return model

    return wrap


class Way:
    """A replica of the model, and how its gradients are exchanged."""

    def __init__(self, title, build, loss, wrap=None, overlap=None, codec="one-bit"):
        self.title, self.loss, self.is_exchanged = title, loss, wrap is not None or overlap is not None
        # The same values on all ranks and for all ways.
        torch.manual_seed(1)
        network = build()
        self.model = distributed(network) if overlap else wrap(network) if wrap else network
        self.state = None
        if overlap:
            self.state = morse.torch.compress(self.model, codec, warm_start=0, overlap=overlap, name=title)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        # Seconds of the timed steps; medians of the turns: seconds, and those of the processor, by all threads.
        self.seconds, self.turns = [], []
        self.bytes, self.steps, self.counted_from = 0, 0, None

    def step(self):
        """The seconds of a step on this rank, which begins when all have come, and those of its processor."""
        dist.barrier()
        start, used = time.perf_counter(), time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model).backward()
        self.optimizer.step()
        return time.perf_counter() - start, time.process_time() - used

    def turn(self, count):
        """Steps, of which the first is not timed: what it finds in the caches is another way's."""
        if self.state and self.counted_from is None:
            self.counted_from = self.state.counters()
        dist.barrier()
        before = bytes_out()
        self.step()
        found = [self.step() for _ in range(count)]
        dist.barrier()
        self.bytes += bytes_out() - before
        self.steps += count + 1
        self.seconds += [seconds for seconds, _ in found]
        self.turns.append(numpy.median(found, axis=0))

    def counted(self):
        """The bytes of an exchange by Morse's counters; 0 if it is not Morse's."""
        if self.state is None:
            return 0
        now = self.state.counters()
        return (now.sent - self.counted_from.sent) / (now.exchanges - self.counted_from.exchanges)


def bytes_out():
    """What the interface has sent so far, 0 without one."""
    if not options.interface:
        return 0
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    rows = dict(line.split(":", 1) for line in lines if ":" in line)
    counts = next((counts for name, counts in rows.items() if name.strip() == options.interface), None)
    if counts is None:
        sys.exit(f"torch-steps: there is no interface {options.interface}")
    return int(counts.split()[8])


def largest(values):
    """The largest of each value over the ranks."""
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor.numpy()


def check(way):
    """Ends the job if the replicas of a way differ or are not finite: it did not exchange what it should."""
    sums = [parameter.detach().double().sum().item() for parameter in way.model.parameters()]
    size = [parameter.detach().double().abs().sum().item() for parameter in way.model.parameters()]
    high, low = largest(sums), -largest([-value for value in sums])
    is_finite = bool(numpy.isfinite(high).all() and numpy.isfinite(low).all())
    is_equal = not way.is_exchanged or bool((high - low <= 1e-5 * largest(size)).all())
    is_engaged = way.state is None or way.state.is_engaged
    if is_finite and is_equal and is_engaged:
        return
    what = "ranks have different models" if is_finite else "values are not finite"
    if not is_engaged:
        what = "nothing was exchanged"
    if morse.torch.rank() == 0:
        print(f"torch-steps: {way.title}: {what} at the end, so that its time says nothing", file=sys.stderr, flush=True)
    dist.barrier()
    sys.exit(1)


# ---- The measurement

torch.set_num_threads(1)
if options.warm_up < 5 or options.steps < 1:
    sys.exit("torch-steps: --warm-up is at least 5 and --steps at least 1")
morse.torch.init_process_group(timeout=120)
rank, ranks = morse.torch.rank(), morse.torch.size()
minibatch = {"perceptron": 256, "transformer": 8}[options.model]
if minibatch % ranks:
    sys.exit(f"torch-steps: {ranks} ranks cannot share a minibatch of {minibatch} evenly")
torch.manual_seed(100 + rank)
build, loss = {"perceptron": perceptron, "transformer": transformer}[options.model](minibatch // ranks)

if options.overhead:
    if ranks > 1:
        sys.exit("torch-steps: --overhead is for one rank")
    ways = [
        Way("without DDP", build, loss),
        Way("DDP", build, loss, distributed),
        Way("DDP with Morse's hook, one-bit", build, loss, overlap="auto"),
    ]
elif options.low_rank:
    ways = [Way("no exchange", build, loss), Way("DDP, fp32 over gloo", build, loss, distributed)]
    for columns in (1, 2, 4):
        ways.append(Way(f"DDP, PowerSGD rank {columns}", build, loss, with_power_sgd(columns)))
        ways.append(
            Way(f"Morse, low-rank:rank={columns}", build, loss, overlap="auto", codec=f"low-rank:rank={columns}"))
else:
    ways = [
        Way("no exchange", build, loss),
        Way("DDP, fp32 over gloo", build, loss, distributed),
        Way("DDP, fp16 hook", build, loss, with_fp16),
        Way("DDP, PowerSGD rank 1", build, loss, with_power_sgd(1)),
        *(Way(f"Morse, one-bit, overlap {overlap}", build, loss, overlap=overlap) for overlap in ("off", "inline", "thread")),
    ]
for way in ways:
    for _ in range(options.warm_up):
        way.step()
for turn, begin in enumerate(range(0, options.steps, TURN)):
    for way in ways if turn % 2 == 0 else reversed(ways):
        way.turn(min(TURN, options.steps - begin))
for way in ways:
    check(way)

rows = [(way, 1e3 * largest(way.seconds), *largest([way.bytes / way.steps, way.counted()])) for way in ways]
if rank == 0:
    parameters = sum(parameter.numel() for parameter in ways[0].model.parameters())
    print(
        f"\n{options.model}, {parameters} parameters, minibatch {minibatch} over {ranks} rank{'s' if ranks > 1 else ''}, "
        f"{options.steps} steps of each way in turns of {TURN}")
    base = "DDP" if options.overhead else "fp32"
    reference = float(numpy.median(rows[1][1]))
    print(
        f"{'':32s} {'step':>9s} {'middle half':>17s} {base + ' / step':>11s} {'sent':>9s} {'counted':>9s} {'wire':>8s}\n"
        f"{'':32s} {'ms':>9s} {'ms':>17s} {'':>11s} {'kB':>9s} {'kB':>9s} {'ms':>8s}")
    for way, times, sent, counted in rows:
        low, middle, high = numpy.percentile(times, [25, 50, 75])
        print(
            f"{way.title:32s} {middle:9.1f} {f'{low:.1f} to {high:.1f}':>17s} {reference / middle:11.2f} "
            f"{f'{sent / 1e3:.1f}' if options.interface else '-':>9s} {f'{counted / 1e3:.1f}' if counted else '-':>9s} "
            f"{f'{counted * 8e3 / options.bits:.1f}' if counted and options.bits else '-':>8s}")
    if options.overhead:
        # Turns of the two lie side by side.
        cost, processor = 100 * (numpy.median(numpy.divide(ways[2].turns, ways[1].turns), axis=0) - 1)
        print(
            f"the hook costs {cost:.2f} % of a step, median of {len(ways[1].turns)} turns' ratios "
            f"(at most {LIMIT}: {'met' if cost <= LIMIT else 'MISSED'}); {processor:.2f} % of its processor time")
    sys.stdout.flush()
