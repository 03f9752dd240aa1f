"""Linear layers that evaluate all members of an ensemble at once."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class EnsembleLinear(nn.Module):
    """One linear layer for each member. One batched product evaluates all of them.

    Attributes:
        weight: Shape ``(member, fan_in, fan_out)``.
        bias: Shape ``(member, 1, fan_out)``.
    """

    weight: Tensor  # a parameter, or the result of a parametrisation

    def __init__(self, num_members: int, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
        """Draw the weights as the paper's code does: normal, truncated at two standard deviations. Biases are zero."""
        super().__init__()
        weight = torch.empty(num_members, fan_in, fan_out)
        std = 1.0 / (2.0 * math.sqrt(fan_in))
        nn.init.trunc_normal_(weight, std=std, a=-2.0 * std, b=2.0 * std, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(num_members, 1, fan_out))

    def forward(self, inputs: Float[Tensor, "member batch fan_in"]) -> Float[Tensor, "member batch fan_out"]:
        """Apply each member's layer to its own batch."""
        return torch.baddbmm(self.bias, inputs, self.weight)


MANY_ROWS = 256
"""From this many rows on, evaluating one member after another is faster: it avoids more cache misses than it costs."""

# 512 rows of 200 float32 take 0.4 MB. Inputs, outputs and weights of a layer then fit a cache of 1 MB.
_BYTES_PER_CHUNK = 512 * 4

Layer = tuple[Float[Tensor, "member _ _"], Float[Tensor, "member 1 _"]]


def evaluate_by_member(
    layers: Sequence[Layer], inputs: Float[Tensor, "batch input"], inner: torch.dtype = torch.float32
) -> Iterator[tuple[slice, Float[Tensor, "member rows output"]]]:
    """Yield chunks of rows, and the outputs of all members for them.

    Args:
        layers: Weights and biases in order. SiLU follows every layer except the last.
        inputs: The same rows for every member.
        inner: Precision of the layers between the first and the last, which do nearly all of the work.
    """
    rounded, size = _inner_rounded(layers, inner), _BYTES_PER_CHUNK // inner.itemsize
    for start in range(0, len(inputs), size):
        rows = slice(start, min(start + size, len(inputs)))
        chunk = inputs[rows]
        yield rows, evaluate_each(rounded, chunk.expand(len(layers[0][0]), *chunk.shape))


def evaluate_each(
    layers: Sequence[Layer], inputs: Float[Tensor, "member batch input"]
) -> Float[Tensor, "member batch output"]:
    """Return the outputs of each member for its own rows, computed one member after another.

    The backward pass then also finishes one member before the next.
    """
    *hidden, (last_weight, last_bias) = [(weight.unbind(), bias.unbind()) for weight, bias in layers]
    overwrite = not torch.is_grad_enabled()
    outputs = []
    for member, features in enumerate(inputs):
        for weight, bias in hidden:
            products = torch.addmm(bias[member], features.to(weight[member].dtype), weight[member])
            features = functional.silu(products, inplace=overwrite)
        features = features.to(last_weight[member].dtype)
        outputs.append(torch.addmm(last_bias[member], features, last_weight[member]))
    return torch.stack(outputs)


def evaluate_at_once(
    layers: Sequence[Layer], inputs: Float[Tensor, "member batch input"], inner: torch.dtype = torch.float32
) -> Float[Tensor, "member batch output"]:
    """Return the outputs of each member for its own rows by batched products: for few rows, and for GPUs.

    The other arguments are those of `evaluate_by_member`.
    """
    *hidden, (weight, bias) = _inner_rounded(layers, inner)
    features = inputs
    for inner_weight, inner_bias in hidden:
        features = functional.silu(torch.baddbmm(inner_bias, features.to(inner_weight.dtype), inner_weight))
    return torch.baddbmm(bias, features.to(weight.dtype), weight)


def _inner_rounded(layers: Sequence[Layer], inner: torch.dtype) -> list[Layer]:
    """Round all layers except the first, which takes the inputs, and the last, which returns the outputs."""
    ends = (0, len(layers) - 1)
    return [
        (weight, bias) if index in ends else (weight.to(inner), bias.to(inner))
        for index, (weight, bias) in enumerate(layers)
    ]
