"""Small dense networks with explicit gradients: the same numbers as autograd's, in less time.

With networks of 256 units, PyTorch records and replays operations for nearly as long as it multiplies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DenseNetworks:
    """Copies of N networks with the same widths, evaluated together: linear layers with ReLU between them.

    Use it with autograd off. The originals do not change until `scatter` copies `values` into `parameters`.

    Attributes:
        parameters: Parameters of the copied layers, in the order of `values`.
        values: All weights and biases, in one vector.
        gradients: The gradients from `backward`, in the order of `values`.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], *, num_networks: int = 1) -> None:
        """Copy the weights.

        Args:
            layers: The modules of each layer, in order: one module of every network, or, for a single network, several
                modules with the same inputs, whose outputs are concatenated.
            num_networks: N.
        """
        self.parameters: list[Tensor] = []
        for modules in layers:
            self.parameters += [module.weight for module in modules] + [module.bias for module in modules]
        self.values = gather(self.parameters)
        self.gradients = torch.zeros_like(self.values)
        self._weights, self._biases = _views(self.values, layers, num_networks)
        self._weight_gradients, self._bias_gradients = _views(self.gradients, layers, num_networks)

    def forward(self, inputs: Float[Tensor, "row input"]) -> list[Float[Tensor, "network row unit"]]:
        """Evaluate every network on the same rows.

        Returns:
            The input of each layer, and last the outputs.
        """
        trace = [inputs.expand(len(self._weights[0]), *inputs.shape)]
        for weight, bias in zip(self._weights, self._biases, strict=True):
            if len(trace) > 1:
                trace[-1].relu_()
            trace.append(torch.baddbmm(bias, trace[-1], weight.mT))
        return trace

    def backward(self, trace: Sequence[Tensor], gradient: Float[Tensor, "network row output"]) -> None:
        """Write the gradients of all weights and biases into `gradients`.

        Args:
            trace: The result of `forward`; rows beyond those of `gradient` are ignored.
            gradient: The gradient of a loss by the outputs.
        """
        rows = gradient.shape[1]
        for layer in reversed(range(len(self._weights))):
            features = trace[layer][:, :rows]
            self._write_weight_gradient(layer, gradient, features)
            torch.sum(gradient, dim=1, keepdim=True, out=self._bias_gradients[layer])
            if layer:
                gradient = _through_rectifier(torch.bmm(gradient, self._weights[layer]), features)

    def _write_weight_gradient(self, layer: int, gradient: Tensor, features: Tensor) -> None:
        written = self._weight_gradients[layer]
        if features.shape[2] < gradient.shape[2]:  # a wide product takes less time than a tall one
            written.copy_(torch.bmm(features.mT, gradient).mT)
        else:
            torch.bmm(gradient.mT, features, out=written)

    def input_gradient(
        self, trace: Sequence[Tensor], gradient: Float[Tensor, "network row output"], columns: slice
    ) -> Float[Tensor, "row column"]:
        """Return the gradient by some input columns, summed over networks, given the gradient by the outputs."""
        for layer in reversed(range(1, len(self._weights))):
            gradient = _through_rectifier(torch.bmm(gradient, self._weights[layer]), trace[layer])
        by_network: Tensor = torch.bmm(gradient, self._weights[0][..., columns])
        return by_network.sum(dim=0)

    def input_gradients(self, trace: Sequence[Tensor]) -> list[Float[Tensor, "network row unit"]]:
        """Return the gradients of every network's only output by its input and by the input of each layer."""
        gradient = self._weights[-1].expand(-1, trace[0].shape[1], -1)
        gradients = [gradient]
        for layer in reversed(range(len(self._weights) - 1)):
            gradient = torch.bmm(_through_rectifier(gradient.clone(), trace[layer + 1]), self._weights[layer])
            gradients.insert(0, gradient)
        return gradients

    def add_backward_of_input_gradients(
        self, trace: Sequence[Tensor], gradients: Sequence[Tensor], upstream: Float[Tensor, "network row input"]
    ) -> None:
        """Add to `gradients` what a loss of the input gradients contributes.

        Between its kinks a rectifier network is linear. So the gradient by the inputs is a product of the weights and
        of fixed masks, and this is the gradient of that product.

        Args:
            trace: The result of `forward`.
            gradients: The result of `input_gradients`.
            upstream: The gradient of the loss by the input gradients.
        """
        for layer in range(len(self._weights) - 1):
            masked = _through_rectifier(gradients[layer + 1].clone(), trace[layer + 1])
            self._weight_gradients[layer].baddbmm_(masked.mT, upstream)
            upstream = _through_rectifier(torch.bmm(upstream, self._weights[layer].mT), trace[layer + 1])
        self._weight_gradients[-1].add_(upstream.sum(dim=1, keepdim=True))


def dense_layers(network: Iterable[nn.Module]) -> list[nn.Linear] | None:
    """Return the linear layers of a network; None unless it consists of linear layers with ReLU between them."""
    parts = list(network)
    layers = [part for part in parts[::2] if type(part) is nn.Linear and part.bias is not None]
    plain = len(parts) % 2 and len(layers) == len(parts[::2]) and all(type(part) is nn.ReLU for part in parts[1::2])
    return layers if plain else None


def gather(tensors: Iterable[Tensor]) -> Float[Tensor, " number"]:
    """Copy tensors into one vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


@torch.no_grad()
def scatter(vector: Float[Tensor, " number"], tensors: Sequence[Tensor]) -> None:
    """Copy a vector from `gather` into tensors: the inverse of `gather`."""
    parts = torch.split(vector, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def _views(
    vector: Tensor, layers: Sequence[Sequence[nn.Linear]], num_networks: int
) -> tuple[list[Float[Tensor, "network output input"]], list[Float[Tensor, "network 1 output"]]]:
    """Return each layer's weights and biases as views of a vector."""
    weights, biases, start = [], [], 0
    for modules in layers:
        fan_in, fan_out = modules[0].in_features, sum(module.out_features for module in modules)
        weights.append(vector[start : start + fan_in * fan_out].view(num_networks, -1, fan_in))
        start += fan_in * fan_out
        biases.append(vector[start : start + fan_out].view(num_networks, 1, -1))
        start += fan_out
    return weights, biases


def _through_rectifier(gradient: Tensor, outputs: Tensor) -> Tensor:
    """Backpropagate through ReLU in place, by the operation that autograd uses."""
    torch.ops.aten.threshold_backward.grad_input(gradient, outputs, 0, grad_input=gradient)
    return gradient
