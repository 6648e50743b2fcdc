"""The PyTorch twins of Morse's models: the same functions, whose state dictionaries have the names and shapes of model.safetensors.

Images are channels-last in Morse, so a linear layer behind a convolution reads height × width × channels.
"""

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
    return {"relu": functional.relu, "sigmoid": torch.sigmoid}[keys.get("activation", "relu")]


class Perceptron(nn.Module):
    """softmax and mlp."""

    def __init__(self, inputs, classes, values, keys):
        super().__init__()
        sizes = [inputs, *sizes_of(values), classes]
        self.activation = activation_of(keys)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def flatten(x):
    """An image as the values of its pixels, in the order of memory."""
    return x.permute(0, 2, 3, 1).flatten(1)


class LeNet(nn.Module):
    """cnn on images of one channel: 5×5 convolutions with 2×2 pooling, a hidden linear layer, the output."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        *filters, hidden = [int(value) for value in values or ["20", "50", "500"]]
        height, width, channels = image
        self.activation = activation_of(keys)
        self.convolutions = nn.ModuleList()
        for count in filters:
            self.convolutions.append(nn.Conv2d(channels, count, 5))
            height, width, channels = (height - 4) // 2, (width - 4) // 2, count
        self.hidden = nn.Linear(height * width * channels, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, x):
        for convolution in self.convolutions:
            x = self.activation(functional.max_pool2d(convolution(x), 2))
        return self.output(self.activation(self.hidden(flatten(x))))


class ResidualBlock(nn.Module):
    def __init__(self, channels, count, stride):
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, count, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(count)
        self.convolution2 = nn.Conv2d(count, count, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(count)
        self.shortcut = None
        if stride != 1 or channels != count:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, count, 1, stride, bias=False), nn.BatchNorm2d(count))

    def forward(self, x):
        y = self.norm2(self.convolution2(functional.relu(self.norm1(self.convolution1(x)))))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """resnet:6n+2 for images of 32×32 (He et al. 2016), with projections where the number of channels changes."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        depth, width = int((values or ["20"])[0]), int(keys.get("width", 16))
        self.convolution = nn.Conv2d(image[2], width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks, channels = [], width
        for stage in range(3):
            for number in range((depth - 2) // 6):
                blocks.append(ResidualBlock(channels, width << stage, 2 if stage > 0 and number == 0 else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(channels, classes)

    def forward(self, x):
        x = functional.relu(self.norm(self.convolution(x)))
        return self.output(self.blocks(x).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expansion = nn.Linear(width, 4 * width)
        self.contraction = nn.Linear(4 * width, width)

    def forward(self, x):
        samples, positions, width = x.shape
        heads = self.attention(self.norm1(x)).view(samples, positions, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        y = attend(query, key, value)
        x = x + self.projection(y.transpose(1, 2).reshape(samples, positions, width))
        return x + self.contraction(gelu(self.expansion(self.norm2(x))))


def gelu(x):
    """GELU by the hyperbolic tangent, as Morse computes it."""
    try:
        return functional.gelu(x, approximate="tanh")
    except TypeError:  # PyTorch before 1.12
        return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def attend(query, key, value):
    """Causal attention, by the fused function where there is one."""
    if hasattr(functional, "scaled_dot_product_attention"):
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ value


class Transformer(nn.Module):
    """transformer: pre-norm blocks of causal attention and a perceptron, learned positions, an output layer of its own."""

    def __init__(self, context, classes, values, keys):
        super().__init__()
        width, heads, layers = (int(keys.get(key, value)) for key, value in (("width", 128), ("heads", 4), ("layers", 4)))
        self.tokens = nn.Embedding(classes, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x)).flatten(0, 1)


def form_of(text):
    """The form of samples: ("values", 784), ("image", (28, 28, 1)), or ("text", 128); a square number is an image of one channel."""
    if text.startswith("text:"):
        return "text", int(text[5:])
    sizes = [int(size) for size in text.split("x")]
    if len(sizes) == 3:
        return "image", tuple(sizes)
    side = round(sizes[0] ** 0.5)
    return ("image", (side, side, 1)) if side * side == sizes[0] else ("values", sizes[0])


def build(specification, form, classes):
    """The twin of a model on samples of a form."""
    name, values, keys = parse(specification)
    kind, size = form
    # What these twins lack, by model: keys that change the function, and forms with another default.
    others = {"norm", "dropout", "dropconnect", "kernel", "hidden"} & keys.keys() - ({"norm"} if name == "resnet" else set())
    if others or name == "cnn" and size[2] > 1 or name == "resnet" and values == ["9"]:
        raise SystemExit(f"there is no PyTorch twin of '{specification}' on samples of this form")
    if name in ("softmax", "mlp"):
        inputs = size if kind == "values" else size[0] * size[1] * size[2]
        return Perceptron(inputs, classes, values, keys)
    if name == "cnn":
        return LeNet(size, classes, values, keys)
    if name == "resnet":
        return ResNet(size, classes, values, keys)
    if name == "transformer":
        return Transformer(size, classes, values, keys)
    raise SystemExit(f"there is no PyTorch twin of '{specification}'")


def random_samples(form, classes, count):
    """Inputs as the twin reads them, and targets."""
    kind, size = form
    if kind == "text":
        return torch.randint(classes, (count, size)), torch.randint(classes, (count * size,))
    if kind == "image":
        height, width, channels = size
        images = torch.randn(count, channels, height, width).contiguous(memory_format=torch.channels_last)
        return images, torch.randint(classes, (count,))
    return torch.randn(count, size), torch.randint(classes, (count,))
