#!/usr/bin/python3
"""PyTorch's side of data-parallel training: DistributedDataParallel over gloo, in fp32, with the PowerSGD hook or with Morse's.

The same task as `train --data idx:DIR --model mlp:512,512`: the same files, standardised inputs, start values uniform within
1/sqrt(inputs), minibatch, rate, momentum and cosine decay. mpirun starts the ranks:

    mpirun -np 8 /usr/bin/python3 scripts/peers/torch-ddp.py --data DIR --master ADDRESS [--interface eth0] [--hook powersgd]

Rank 0 prints one JSON object: seconds for each step (of the slowest rank) and until the test accuracy reached the goal. The
clock stands still while the model is evaluated. Needs Debian's python3-torch (scripts/install-dependencies peers). With --hook morse the
package of python/ exchanges gradients by --codec: PYTHONPATH and MORSE_LIBRARY say where it is, and --start is the warm start.
"""

import argparse
import gzip
import json
import math
import os
import statistics
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", required=True, help="the folder of the four IDX files, plain or .gz")
parser.add_argument("--hook", choices=["none", "powersgd", "morse"], default="none", help="none: fp32 all-reduce")
parser.add_argument("--codec", default="one-bit", help="of Morse")
parser.add_argument("--matrix-rank", type=int, default=1, help="of PowerSGD")
parser.add_argument("--start", type=int, default=2, help="steps of fp32 before PowerSGD, at least 2, or Morse's codec")
parser.add_argument("--hidden", default="512,512", help="sizes of the hidden layers")
parser.add_argument("--minibatch", type=int, default=256, help="samples of a step over all ranks")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--steps", type=int, help="end after so many steps; the schedule stays that of the epochs")
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--evaluate-every", type=int, default=47, help="steps; 0 for never")
parser.add_argument("--goal", type=float, default=0.98, help="stop at this test accuracy")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--master", default="127.0.0.1", help="the address of rank 0's host")
parser.add_argument("--port", type=int, default=29500)
parser.add_argument("--interface", help="the network interface that gloo uses")
options = parser.parse_args()

rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", 0))
ranks = int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1))
# OpenBLAS reads its threads when it is loaded, gloo its interface when it starts.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = options.master, str(options.port)
if options.interface:
    os.environ["GLOO_SOCKET_IFNAME"] = options.interface

import numpy  # noqa: E402  (only now, because of the lines above)
import torch  # noqa: E402
import torch.distributed as distributed  # noqa: E402
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

# One bucket: the PowerSGD hook over gloo mixes up the messages of several, and ends.
distributed.distributed_c10d._DEFAULT_FIRST_BUCKET_BYTES = 1 << 30
distributed._DEFAULT_FIRST_BUCKET_BYTES = 1 << 30


def read(name):
    """The values of an IDX file of bytes."""
    path = os.path.join(options.data, name)
    opened = gzip.open(path + ".gz") if os.path.exists(path + ".gz") else open(path, "rb")
    with opened as file:
        content = file.read()
    if content[:3] != b"\0\0\x08":
        sys.exit(f"{path} is not an IDX file of bytes")
    shape = numpy.frombuffer(content, ">u4", count=content[3], offset=4)
    return numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * content[3]).reshape(shape)


def samples(prefix, moments=None):
    """Inputs, standardised by one mean and one deviation of all training pixels, labels, and those moments."""
    pixels = read(f"{prefix}-images-idx3-ubyte").reshape(-1, 784).astype(numpy.float32)
    moments = moments or (float(pixels.mean(dtype=numpy.float64)), float(pixels.std(dtype=numpy.float64)))
    labels = read(f"{prefix}-labels-idx1-ubyte").astype(numpy.int64)
    return torch.from_numpy((pixels - moments[0]) / moments[1]), torch.from_numpy(labels), moments


def share(count):
    """This rank's part of `count` consecutive things."""
    return slice(rank * count // ranks, (rank + 1) * count // ranks)


torch.set_num_threads(1)
if options.hook == "morse":
    import morse.torch

    morse.torch.init_process_group()
else:
    distributed.init_process_group("gloo", rank=rank, world_size=ranks)
inputs, labels, moments = samples("train")
test_inputs, test_labels, _ = samples("t10k", moments)

torch.manual_seed(options.seed)
sizes = [784, *map(int, options.hidden.split(",")), 10]
layers = []
for width, height in zip(sizes, sizes[1:]):
    # PyTorch's own start: weights and biases uniform within 1/sqrt(width).
    layers += [torch.nn.Linear(width, height), torch.nn.ReLU()]
network = torch.nn.Sequential(*layers[:-1])
model = DistributedDataParallel(network, bucket_cap_mb=1000)
if options.hook == "powersgd":
    state = powerSGD_hook.PowerSGDState(
        process_group=None, matrix_approximation_rank=options.matrix_rank, start_powerSGD_iter=max(2, options.start)
    )
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
elif options.hook == "morse":
    morse.torch.compress(model, options.codec, warm_start=options.start)
optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=options.momentum)
cross_entropy = torch.nn.CrossEntropyLoss()


def accuracy():
    """The share of the test samples classified rightly; each rank judges its own."""
    own = share(len(test_labels))
    with torch.no_grad():
        right = (network(test_inputs[own]).argmax(1) == test_labels[own]).sum().to(torch.float64)
    distributed.all_reduce(right)
    return right.item() / len(test_labels)


per_epoch = -(-len(labels) // options.minibatch)
horizon = options.epochs * per_epoch
end = min(horizon, options.steps or horizon)
order = torch.Generator()
durations, evaluations, reached = [], [], None
for step in range(end):
    if step % per_epoch == 0:
        order.manual_seed(options.seed * 1000 + step // per_epoch)
        permutation = torch.randperm(len(labels), generator=order)
    distributed.barrier()
    begin = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = options.rate * (1 + math.cos(math.pi * step / horizon)) / 2
    first = step % per_epoch * options.minibatch
    minibatch = permutation[first : first + options.minibatch]
    mine = minibatch[share(len(minibatch))]
    optimizer.zero_grad(set_to_none=True)
    # DDP takes the mean over ranks: shares of unequal size weigh what they hold.
    loss = cross_entropy(model(inputs[mine]), labels[mine]) * (len(mine) * ranks / len(minibatch))
    loss.backward()
    optimizer.step()
    durations.append(time.perf_counter() - begin)
    if options.evaluate_every and (step + 1) % options.evaluate_every == 0 or step + 1 == end:
        evaluations.append((step + 1, accuracy()))
        if evaluations[-1][1] >= options.goal:
            reached = step + 1
            break

# The slowest rank of each step.
slowest = torch.tensor(durations, dtype=torch.float64)
distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
if rank == 0:
    seconds = slowest.tolist()
    print(
        json.dumps(
            {
                "peer": {"none": "ddp", "powersgd": f"powersgd:rank={options.matrix_rank}"}.get(options.hook, options.codec),
                "version": torch.__version__,
                "ranks": ranks,
                "steps": len(seconds),
                "stepSeconds": statistics.median(seconds[2:] or seconds),
                "stepsToGoal": reached,
                "secondsToGoal": sum(seconds) if reached else None,
                "goal": options.goal,
                "evaluations": evaluations,
            }
        ),
        flush=True,
    )
distributed.barrier()
