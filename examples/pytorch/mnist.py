"""A perceptron on MNIST, data-parallel with one bit per gradient value. Three lines differ from plain DDP; they end in "# Morse".

    mpirun -np 4 --bind-to none python -m morse examples/pytorch/mnist.py --data DIR

DIR has the four IDX files of MNIST, also as .gz; without it, images are generated. --codec none exchanges floats.
"""

import argparse
import pathlib

import torch
from torch.nn.parallel import DistributedDataParallel

import morse.torch
from images import load

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data")
parser.add_argument("--codec", default="one-bit")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--minibatch", type=int, default=256, help="samples of a step over all ranks")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--checkpoint", help="what the files of the ranks begin with; an existing one is resumed")
options = parser.parse_args()

morse.torch.init_process_group()  # Morse: instead of torch.distributed.init_process_group
rank, ranks = morse.torch.rank(), morse.torch.size()
images, labels = map(torch.from_numpy, load(options.data, "train", 20_000))
test_images, test_labels = map(torch.from_numpy, load(options.data, "t10k", 2_000))
steps_per_epoch = len(images) // options.minibatch
steps = options.epochs * steps_per_epoch

torch.manual_seed(options.seed)
net = torch.nn.Sequential(
    torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
model = DistributedDataParallel(net)
state = morse.torch.compress(model, options.codec, steps=steps)  # Morse
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

first = 0
file = pathlib.Path(f"{options.checkpoint}.{rank}.pt")
if options.checkpoint and file.exists():
    saved = torch.load(file)
    net.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    state.load_state_dict(saved["morse"])  # Morse
    first = saved["step"]

for step in range(first, steps):
    epoch, place = divmod(step, steps_per_epoch)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1000 * options.seed + epoch))
    own = order[place * options.minibatch:(place + 1) * options.minibatch][rank::ranks]
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images[own]), labels[own]).backward()
    optimizer.step()
    schedule.step()
    if place == steps_per_epoch - 1:
        with torch.no_grad():
            accuracy = (net(test_images).argmax(1) == test_labels).float().mean().item()
        if rank == 0:
            print(f"epoch {epoch + 1}  accuracy {100 * accuracy:.2f} %", flush=True)
        if options.checkpoint:
            torch.save(
                {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                 "morse": state.state_dict(), "step": step + 1}, file)
