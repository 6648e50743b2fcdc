"""The PyTorch twins of Morse's models: the same functions, whose state dictionaries have the names and shapes of model.safetensors.

Images are channels-last in Morse, so a linear layer behind a convolution reads height × width × channels.
"""

import torch
from torch import nn
from torch.nn import functional

from torch_twin import Twin, activation_of, dropout_of, flatten, gelu, normalizes, parse, sizes_of


class Perceptron(Twin):
    """softmax and mlp: hidden layers with a normalization before their activation, and dropout after it, if the keys say so."""

    def __init__(self, inputs, classes, values, keys):
        super().__init__()
        sizes = [inputs, *sizes_of(values)]
        self.activation, self.drop = activation_of(keys), dropout_of(keys)
        self.drop_connect = float(keys.get("dropconnect", 0))
        self.hidden = []
        for count, size in zip(sizes, sizes[1:]):
            linear = nn.Linear(count, size, bias=not normalizes(keys))
            self.add(linear)
            # In a list that PyTorch does not look into: the module has its number already.
            self.hidden.append([linear, self.add(nn.BatchNorm1d(size)) if normalizes(keys) else lambda x: x])
        self.output = self.add(nn.Linear(sizes[-1], classes))

    def forward(self, x):
        x = flatten(x)
        for linear, norm in self.hidden:
            weight = functional.dropout(linear.weight, self.drop_connect, self.training)
            x = self.drop(self.activation(norm(functional.linear(x, weight, linear.bias))))
        return self.output(x)


class Highway(Twin):
    """highway: a linear layer, then layers that mix what they compute with what they read; a gate's tensors come first."""

    def __init__(self, inputs, classes, values, keys):
        super().__init__()
        count, width = (int(number) for number in values[0].split("x"))
        self.activation = activation_of(keys)
        self.start = self.add(nn.Linear(inputs, width))
        self.mixing = [[self.add(nn.Linear(width, width)) for _ in range(2)] for _ in range(count)]
        self.output = self.add(nn.Linear(width, classes))

    def forward(self, x):
        x = self.activation(self.start(flatten(x)))
        for gate, transform in self.mixing:
            x = x + torch.sigmoid(gate(x)) * (self.activation(transform(x)) - x)
        return self.output(x)


class LeNet(Twin):
    """cnn without normalization: convolutions with 2×2 pooling, a hidden linear layer, the output."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        filters = [int(value) for value in values or ["20", "50"]]
        hidden = int(keys["hidden"]) if "hidden" in keys else filters.pop() if values else 500
        kernel = int(keys.get("kernel", 5))
        height, width, channels = image
        self.activation, self.drop = activation_of(keys), dropout_of(keys)
        self.convolutions = []
        for count in filters:
            self.convolutions.append(self.add(nn.Conv2d(channels, count, kernel)))
            height, width, channels = (height - kernel + 1) // 2, (width - kernel + 1) // 2, count
        size = height * width * channels
        self.hidden = self.add(nn.Linear(size, hidden)) if hidden else None
        self.output = self.add(nn.Linear(hidden or size, classes))

    def forward(self, x):
        for convolution in self.convolutions:
            x = self.activation(functional.max_pool2d(convolution(x), 2))
        x = flatten(x)
        return self.output(self.drop(self.activation(self.hidden(x)) if self.hidden else x))


class NormalizedNet(Twin):
    """cnn with normalization: convolutions that keep the size, each with batch normalization, activation and 2×2 pooling."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        kernel, hidden = int(keys.get("kernel", 3)), int(keys.get("hidden", 0))
        height, width, channels = image
        self.activation, self.drop = activation_of(keys), dropout_of(keys)
        self.stages = []
        for count in [int(value) for value in values or ["32", "64", "128"]]:
            convolution = self.add(nn.Conv2d(channels, count, kernel, 1, kernel // 2, bias=False))
            self.stages.append((convolution, self.add(nn.BatchNorm2d(count))))
            height, width, channels = height // 2, width // 2, count
        size = height * width * channels
        self.hidden = [self.add(nn.Linear(size, hidden, bias=False)), self.add(nn.BatchNorm1d(hidden))] if hidden else None
        self.output = self.add(nn.Linear(hidden or size, classes))

    def forward(self, x):
        for convolution, norm in self.stages:
            x = functional.max_pool2d(self.activation(norm(convolution(x))), 2)
        x = flatten(x)
        if self.hidden:
            linear, norm = self.hidden
            x = self.activation(norm(linear(x)))
        return self.output(self.drop(x))


class Residual(Twin):
    """What the residual networks have in common: normalized convolutions, and blocks of two of them with a shortcut."""

    def normalized(self, channels, count, size=3, stride=1):
        convolution = self.add(nn.Conv2d(channels, count, size, stride, size // 2, bias=False))
        norm = self.add(nn.BatchNorm2d(count))
        return lambda x: norm(convolution(x))

    def block(self, channels, count, stride=1):
        shortcut = self.normalized(channels, count, 1, stride) if stride > 1 else lambda x: x
        first, second = self.normalized(channels, count, 3, stride), self.normalized(count, count)
        return lambda x: functional.relu(second(functional.relu(first(x))) + shortcut(x))

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return self.output(x.mean((2, 3)))


class ResNet(Residual):
    """resnet:6n+2 for small images (He et al. 2016), with projections where the number of channels changes."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        depth, width = int(values[0]), int(keys.get("width", 16))
        start, channels = self.normalized(image[2], width), width
        self.parts = [lambda x: functional.relu(start(x))]
        for stage in range(3):
            for number in range((depth - 2) // 6):
                self.parts.append(self.block(channels, width << stage, 2 if stage > 0 and number == 0 else 1))
                channels = width << stage
        self.output = self.add(nn.Linear(channels, classes))


class ResNet9(Residual):
    """resnet:9: convolutions with pooling, and a block at half and at an eighth of the size (Page 2018)."""

    def __init__(self, image, classes, values, keys):
        super().__init__()
        width = int(keys.get("width", 16))
        self.parts, channels = [], image[2]
        for count, is_pooled, has_block in ((1, False, False), (2, True, True), (4, True, False), (8, True, True)):
            self.parts.append(self.stage(channels, count * width, is_pooled))
            channels = count * width
            if has_block:
                self.parts.append(self.block(channels, channels))
        self.output = self.add(nn.Linear(channels, classes))

    def stage(self, channels, count, is_pooled):
        convolution = self.normalized(channels, count)
        return lambda x: functional.max_pool2d(functional.relu(convolution(x)), 2 if is_pooled else 1)


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
        self.drop = dropout_of(keys)
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
        x = self.drop(self.embedding(tokens))
        samples, positions, width = x.shape
        for norm1, attention, projection, norm2, expansion, contraction in self.blocks:
            heads = attention(norm1(x)).view(samples, positions, 3, self.heads, width // self.heads)
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            y = attend(query, key, value).transpose(1, 2).reshape(samples, positions, width)
            x = x + self.drop(projection(y))
            x = x + self.drop(contraction(gelu(expansion(norm2(x)))))
        return self.output(self.norm(x)).flatten(0, 1)


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
    values_alone = {"softmax": Perceptron, "mlp": Perceptron, "highway": Highway}
    if kind == "text":
        twin = {"transformer": Transformer}.get(name)
    elif name in values_alone:
        twin, size = values_alone[name], size[0] * size[1] * size[2] if kind == "image" else size
    elif kind == "image" and name == "cnn":
        twin = NormalizedNet if normalizes(keys, "batch" if size[2] > 1 else "none") else LeNet
    elif kind == "image" and name == "resnet":
        twin = ResNet9 if values == ["9"] else ResNet
    else:
        twin = None
    if twin is None:
        raise SystemExit(f"there is no PyTorch twin of '{specification}' on samples of this form")
    return twin(size, classes, values, keys)


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
