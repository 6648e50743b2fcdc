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


class Perceptron(Twin):
    """softmax and mlp."""

    def __init__(self, inputs, classes, values, keys):
        super().__init__()
        sizes = [inputs, *sizes_of(values), classes]
        self.activation = activation_of(keys)
        self.linear = [self.add(nn.Linear(a, b)) for a, b in zip(sizes, sizes[1:])]

    def forward(self, x):
        x = x.flatten(1)
        for linear in self.linear[:-1]:
            x = self.activation(linear(x))
        return self.linear[-1](x)


def flatten(x):
    """An image as the values of its pixels, in the order of memory."""
    return x.permute(0, 2, 3, 1).flatten(1)


class LeNet(Twin):
    """cnn on images of one channel: 5×5 convolutions with 2×2 pooling, a hidden linear layer, the output."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        *filters, hidden = [int(value) for value in values or ["20", "50", "500"]]
        height, width, channels = image
        self.activation = activation_of(keys)
        self.convolutions = []
        for count in filters:
            self.convolutions.append(self.add(nn.Conv2d(channels, count, 5)))
            height, width, channels = (height - 4) // 2, (width - 4) // 2, count
        self.hidden = self.add(nn.Linear(height * width * channels, hidden))
        self.output = self.add(nn.Linear(hidden, classes))

    def forward(self, x):
        for convolution in self.convolutions:
            x = self.activation(functional.max_pool2d(convolution(x), 2))
        return self.output(self.activation(self.hidden(flatten(x))))


class NormalizedNet(Twin):
    """cnn on colour images: 3×3 convolutions that keep the size, each with batch normalization, ReLU and 2×2 pooling."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        height, width, channels = image
        self.stages = []
        for count in [int(value) for value in values or ["32", "64", "128"]]:
            convolution = self.add(nn.Conv2d(channels, count, 3, 1, 1, bias=False))
            self.stages.append((convolution, self.add(nn.BatchNorm2d(count))))
            height, width, channels = height // 2, width // 2, count
        self.output = self.add(nn.Linear(height * width * channels, classes))

    def forward(self, x):
        for convolution, norm in self.stages:
            x = functional.max_pool2d(functional.relu(norm(convolution(x))), 2)
        return self.output(flatten(x))


class ResNet(Twin):
    """resnet:6n+2 for images of 32×32 (He et al. 2016), with projections where the number of channels changes."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        depth, width = int((values or ["20"])[0]), int(keys.get("width", 16))
        self.start = self.normalized(image[2], width, 3, 1)
        self.blocks, channels = [], width
        for stage in range(3):
            for number in range((depth - 2) // 6):
                count, stride = width << stage, 2 if stage > 0 and number == 0 else 1
                shortcut = self.normalized(channels, count, 1, stride) if stride > 1 or channels != count else None
                self.blocks.append((shortcut, self.normalized(channels, count, 3, stride), self.normalized(count, count, 3, 1)))
                channels = count
        self.output = self.add(nn.Linear(channels, classes))

    def normalized(self, channels, count, size, stride):
        convolution = self.add(nn.Conv2d(channels, count, size, stride, size // 2, bias=False))
        norm = self.add(nn.BatchNorm2d(count))
        return lambda x: norm(convolution(x))

    def forward(self, x):
        x = functional.relu(self.start(x))
        for shortcut, first, second in self.blocks:
            x = functional.relu(second(functional.relu(first(x))) + (x if shortcut is None else shortcut(x)))
        return self.output(x.mean((2, 3)))


class Embedding(nn.Module):
    def __init__(self, context, classes, width):
        super().__init__()
        self.tokens = nn.Embedding(classes, width)
        self.positions = nn.Embedding(context, width)

    def forward(self, tokens):
        return self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]


class Transformer(Twin):
    """transformer: pre-norm blocks of causal attention and a perceptron, learned positions, an output layer of its own."""

    def __init__(self, context, classes, values, keys):
        super().__init__()
        width, self.heads, layers = (int(keys.get(key, value)) for key, value in (("width", 128), ("heads", 4), ("layers", 4)))
        self.embedding = self.add(Embedding(context, classes, width))
        self.blocks = [
            [
                self.add(module)
                for module in (
                    nn.LayerNorm(width),
                    nn.Linear(width, 3 * width),
                    nn.Linear(width, width),
                    nn.LayerNorm(width),
                    nn.Linear(width, 4 * width),
                    nn.Linear(4 * width, width),
                )
            ]
            for _ in range(layers)
        ]
        self.norm = self.add(nn.LayerNorm(width))
        self.output = self.add(nn.Linear(width, classes, bias=False))

    def forward(self, tokens):
        x = self.embedding(tokens)
        samples, positions, width = x.shape
        for norm1, attention, projection, norm2, expansion, contraction in self.blocks:
            heads = attention(norm1(x)).view(samples, positions, 3, self.heads, width // self.heads)
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            y = attend(query, key, value).transpose(1, 2).reshape(samples, positions, width)
            x = x + projection(y)
            x = x + contraction(gelu(expansion(norm2(x))))
        return self.output(self.norm(x)).flatten(0, 1)


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
    others = {"norm", "dropout", "dropconnect", "kernel", "hidden"} & keys.keys() - ({"norm"} if name in ("cnn", "resnet") else set())
    if others or name == "resnet" and values == ["9"]:
        raise SystemExit(f"there is no PyTorch twin of '{specification}' on samples of this form")
    if name in ("softmax", "mlp"):
        inputs = size if kind == "values" else size[0] * size[1] * size[2]
        return Perceptron(inputs, classes, values, keys)
    if name == "cnn":
        is_normalized = keys.get("norm", "batch" if size[2] > 1 else "none") != "none"
        return (NormalizedNet if is_normalized else LeNet)(size, classes, values, keys)
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
