#!/usr/bin/python3
"""Compares what a model predicts with what its PyTorch twin predicts from the same file.

    .build/release/train evaluate --checkpoint DIR --posteriors p.npy
    scripts/peers/torch-posteriors.py --model resnet:20 --inputs 32x32x3 --checkpoint DIR/step-00000100 --data cifar10:CIFAR --posteriors p.npy

The data are read here once more: cifar10:DIR (with train=N and test=N), idx:DIR, or text:FILE. Prints the largest difference of the log
posteriors, and ends with status 1 if that is more than 1e-4. Needs a PyTorch and NumPy.
"""

import argparse
import gzip
import json
import math
import os
import struct
import sys

import numpy
import torch

from torch_models import build, form_of
from torch_twin import parse

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--inputs", required=True)
parser.add_argument("--checkpoint", required=True, help="the directory of one checkpoint")
parser.add_argument("--data", required=True)
parser.add_argument("--posteriors", required=True)
parser.add_argument("--tolerance", type=float, default=1e-4)
options = parser.parse_args()


def safetensors(path):
    """The tensors of a file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = torch.from_numpy(numpy.frombuffer(data[begin:end], dtype="<f4").copy()).reshape(entry["shape"])
    return tensors


def standardized(train, test):
    """Test values with the mean and deviation of the training values of each channel."""
    axes = tuple(range(train.ndim - 1))
    mean, deviation = train.mean(axes, dtype=numpy.float64), train.std(axes, dtype=numpy.float64)
    return ((test - mean) / deviation).astype(numpy.float32)


def test_inputs(specification):
    """The test samples as the twin reads them, and the number of classes."""
    kind, values, keys = parse(specification)
    if kind == "cifar10":
        def batch(names, count):
            rows = [numpy.fromfile(os.path.join(values[0], name), dtype=numpy.uint8).reshape(-1, 3073)[:, 1:] for name in names]
            images = numpy.concatenate(rows)[: int(count) if count else None]
            return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

        names = [f"data_batch_{n}.bin" for n in range(1, 6) if os.path.exists(os.path.join(values[0], f"data_batch_{n}.bin"))]
        images = standardized(batch(names, keys.get("train")), batch(["test_batch.bin"], keys.get("test")))
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), 10
    if kind == "idx":
        def images(split):
            with gzip.open(os.path.join(values[0], f"{split}-images-idx3-ubyte.gz")) as file:
                content = file.read()
            count, height, width = struct.unpack(">3I", content[4:16])
            return numpy.frombuffer(content[16:], dtype=numpy.uint8).reshape(count, height, width, 1)

        return torch.from_numpy(standardized(images("train"), images("t10k")).transpose(0, 3, 1, 2).copy()), 10
    text = open(values[0], encoding="utf-8").read()
    vocabulary = {character: token for token, character in enumerate(sorted(set(text)))}
    context = int(keys.get("context", form_of(options.inputs)[1]))
    test = [vocabulary[character] for character in text[len(text) - math.ceil(len(text) * 0.1) :]]
    count = (len(test) - 1) // context
    return torch.tensor(test[: count * context]).reshape(count, context), len(vocabulary)


inputs, classes = test_inputs(options.data)
model = build(options.model, form_of(options.inputs), classes)
missing, unknown = model.load_state_dict(safetensors(os.path.join(options.checkpoint, "model.safetensors")), strict=False)
missing = [name for name in missing if not name.endswith("num_batches_tracked")]
if missing or unknown:
    sys.exit(f"the twin lacks {unknown}, and the file {missing}")
model.eval()
theirs = []
with torch.no_grad():
    for start in range(0, len(inputs), 100):
        theirs.append(model(inputs[start : start + 100]).log_softmax(-1).reshape(-1, classes).numpy())
theirs = numpy.concatenate(theirs)
ours = numpy.load(options.posteriors).reshape(-1, classes)
if ours.shape != theirs.shape:
    sys.exit(f"{ours.shape[0]} predictions in the file, {theirs.shape[0]} of the twin")
difference = float(numpy.abs(ours - theirs).max())
print(f"{ours.shape[0]} predictions of {classes} classes: the largest difference of log posteriors is {difference:.2e}")
sys.exit(difference > options.tolerance)
