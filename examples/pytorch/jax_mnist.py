"""A perceptron of JAX on MNIST, data-parallel with one bit per gradient value. The lines of Morse end in "# Morse".

    mpirun -np 4 --bind-to none python -m morse examples/pytorch/jax_mnist.py --data DIR

DIR has the four IDX files of MNIST, also as .gz; without it, images are generated. --codec none exchanges floats.
"""

import argparse

import jax
import numpy
from jax import numpy as jnp

import morse
from images import load

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data")
parser.add_argument("--codec", default="one-bit")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--minibatch", type=int, default=256, help="samples of a step over all ranks")
parser.add_argument("--warm-up", type=int, default=100, help="steps in floats before the codec")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

morse.init()  # Morse
rank, ranks = morse.rank(), morse.size()
images, labels = load(options.data, "train", 20_000)
test_images, test_labels = load(options.data, "t10k", 2_000)
steps_per_epoch = len(images) // options.minibatch


def layer(key, inputs, outputs):
    """A matrix and the biases of zeros."""
    limit = (6 / inputs) ** 0.5
    return jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit), jnp.zeros(outputs)


def outputs(model, x):
    for weights, biases in model[:-1]:
        x = jax.nn.relu(x @ weights + biases)
    weights, biases = model[-1]
    return x @ weights + biases


def loss(model, x, y):
    return -jnp.mean(jax.nn.log_softmax(outputs(model, x))[jnp.arange(len(y)), y])


@jax.jit
def update(model, momenta, gradient, rate):
    momenta = jax.tree.map(lambda m, g: 0.9 * m + g, momenta, gradient)
    return jax.tree.map(lambda w, m: w - rate * m, model, momenta), momenta


keys = jax.random.split(jax.random.key(options.seed), 3)
model = [layer(key, *sizes) for key, sizes in zip(keys, [(784, 512), (512, 512), (512, 10)])]
momenta = jax.tree.map(jnp.zeros_like, model)
gradient_of = jax.jit(jax.grad(loss))

for step in range(options.epochs * steps_per_epoch):
    epoch, place = divmod(step, steps_per_epoch)
    order = numpy.random.default_rng((options.seed, epoch)).permutation(len(images))
    own = order[place * options.minibatch:(place + 1) * options.minibatch][rank::ranks]
    leaves, tree = jax.tree.flatten(gradient_of(model, images[own], labels[own]))
    is_warm = step < options.warm_up
    leaves = morse.all_reduce(leaves, "start" if is_warm else "gradient", "none" if is_warm else options.codec, in_place=False)  # Morse
    rate = 0.05 * (1 + numpy.cos(numpy.pi * step / (options.epochs * steps_per_epoch)))
    model, momenta = update(model, momenta, jax.tree.unflatten(tree, leaves), rate)
    if place == steps_per_epoch - 1 and rank == 0:
        accuracy = (outputs(model, test_images).argmax(1) == test_labels).mean()
        print(f"epoch {epoch + 1}  accuracy {100 * accuracy:.2f} %", flush=True)

morse.init().check_equal("the model", b"".join(numpy.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model)))  # Morse
