"""ResNet-50 as torchvision has it: the 3x3 convolution of a bottleneck takes the stride (v1.5)."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto

from networks.graph import RELU_GAIN, Graph, value

#: Bottlenecks widen their output by this factor. Source: He et al. 2016, table 1.
EXPANSION = 4


def resnet50(
    *,
    blocks: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    classes: int = 1000,
    seed: int = 0,
) -> ModelProto:
    """Return image [batch, 3, 224, 224] -> logits [batch, classes]; 102 MB as it stands.

    Args:
        blocks: Bottlenecks of each stage.
        width: Channels of the first stage; each stage doubles them.
        classes: Columns of the output.
        seed: Seed of the weights.
    """
    net = _ResNet("resnet", seed=seed)
    x = net.unit("image", 3, width, size=7, stride=2)
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage and not block else 1
            x = net.bottleneck(x, channels, width << stage, stride)
            channels = (width << stage) * EXPANSION
    x = net.add("GlobalAveragePool", [x])
    x = net.add("Flatten", [x])
    # Averaging over the picture leaves little variance: the gain gives logits of a few units.
    weight, bias = net.kernel(classes, channels, gain=4.0), net.normal(classes, scale=0.1)
    net.add("Gemm", [x, weight, bias], "logits", transB=1)
    shapes = ["batch", 3, 224, 224], ["batch", classes]
    return net.model([value("image", shapes[0])], [value("logits", shapes[1])])


class _ResNet(Graph):
    def unit(
        self, x: str, channels: int, outputs: int, *, size: int, stride: int = 1, scale: float = 0
    ) -> str:
        """Convolution and batch normalisation; with ReLU, unless a scale for the sum is given."""
        gain = 1.0 if x == "image" else RELU_GAIN
        x = self.add(
            "Conv",
            [x, self.kernel(outputs, channels, size, size, gain=gain)],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )
        x = self.normalised(x, outputs, scale or 1)
        return x if scale else self.add("Relu", [x])

    def normalised(self, x: str, channels: int, scale: float) -> str:
        """Statistics as training leaves them: near those of the data, different by channel."""
        gamma = self.normal(channels, scale=0.1 * scale, mean=scale)
        beta = self.normal(channels, scale=0.1 * scale)
        mean = self.normal(channels, scale=0.1)
        variance = self.constant(self.random.uniform(0.8, 1.2, channels))
        return self.add("BatchNormalization", [x, gamma, beta, mean, variance], epsilon=1e-5)

    def bottleneck(self, x: str, channels: int, width: int, stride: int) -> str:
        """1x1, 3x3 and 1x1 convolutions beside a shortcut."""
        outputs = width * EXPANSION
        widens = channels != outputs
        # Small branches, as in trained networks: the variance stays, and so do rounding errors,
        # which a branch of the shortcut's size would multiply by 1.25 in every block.
        branch = 0.3 if widens else 0.2
        y = self.unit(x, channels, width, size=1)
        y = self.unit(y, width, width, size=3, stride=stride)
        y = self.unit(y, width, outputs, size=1, scale=branch)
        if widens:
            x = self.unit(x, channels, outputs, size=1, stride=stride, scale=0.95)
        return self.add("Relu", [self.add("Add", [y, x])])
