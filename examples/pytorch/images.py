"""Images and their labels for the examples: MNIST from a folder, or images that are generated."""

import gzip
import pathlib

import numpy


def idx(folder, name):
    """One file of MNIST: bytes, after a header of big-endian numbers."""
    path = next(path for path in (pathlib.Path(folder, name), pathlib.Path(folder, name + ".gz")) if path.exists())
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    shape = numpy.frombuffer(data, ">i4", data[3], 4)
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(shape)


def load(folder, part, count):
    """Images of 784 values in 0 ... 1 and their labels; ``count`` of them if there is no folder."""
    if folder:
        images, labels = idx(folder, f"{part}-images-idx3-ubyte"), idx(folder, f"{part}-labels-idx1-ubyte")
        return images.reshape(len(images), -1).astype(numpy.float32) / 255, labels.astype(numpy.int64)
    patterns = numpy.random.default_rng(1).random((10, 784), numpy.float32)
    noise = numpy.random.default_rng(2 if part == "train" else 3)
    labels = noise.integers(10, size=count)
    return patterns[labels] / 3 + noise.standard_normal((count, 784), numpy.float32), labels
