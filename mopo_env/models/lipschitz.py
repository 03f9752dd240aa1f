"""Lipschitz regularisation: spectral normalisation of the layers of the mean, for all members at once."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from mopo_env.models.ensemble import GaussianEnsemble

SILU_LIPSCHITZ = 1.0999
"""The steepest slope of SiLU, 1.09984 at x ≈ 2.4. Each activation can multiply the bound of the layers by this."""

_FIRST_ITERATIONS = 15


class SpectralNormalisation(nn.Module):
    """W ↦ c·W / σ(W) for each member, σ the largest singular value (paper, section 4.3; Miyato et al., 2018).

    This is a parametrisation of stacked weights. In training mode, each call makes one more step of power iteration to
    estimate σ. In evaluation mode σ is exact, so that the kept weights are the measured ones.

    Attributes:
        norm: c, the largest singular value of every member's effective weight.
    """

    left: Tensor
    right: Tensor

    def __init__(
        self, weight: Float[Tensor, "member fan_in fan_out"], *, norm: float, generator: torch.Generator
    ) -> None:
        """Start the power iteration of each member from a vector that `generator`, on the CPU, draws."""
        super().__init__()
        self.norm = norm
        members, fan_in, _ = weight.shape
        start = torch.randn((members, fan_in), generator=generator)
        self.register_buffer("left", functional.normalize(start, dim=1).to(weight))
        self.register_buffer("right", torch.zeros_like(weight[:, 0]))
        for _ in range(_FIRST_ITERATIONS):
            self._iterate(weight)

    def forward(self, weight: Float[Tensor, "member fan_in fan_out"]) -> Float[Tensor, "member fan_in fan_out"]:
        """Return the effective weights."""
        if self.training:
            self._iterate(weight)
            # Copies, because the next step overwrites the vectors while autograd may still need these.
            sigma = torch.einsum("mi,mio,mo->m", self.left.clone(), weight, self.right.clone())
        else:
            sigma = torch.linalg.matrix_norm(weight, ord=2)
        return weight * (self.norm / sigma)[:, None, None]

    @torch.no_grad()
    def _iterate(self, weight: Float[Tensor, "member fan_in fan_out"]) -> None:
        functional.normalize(torch.einsum("mio,mi->mo", weight, self.left), dim=1, out=self.right)
        functional.normalize(torch.einsum("mio,mo->mi", weight, self.right), dim=1, out=self.left)


def regularise(ensemble: GaussianEnsemble, bound: float, generator: torch.Generator) -> None:
    """Keep the product of the largest singular values of the mean's layers at a bound, for every member.

    All layers except the head of the log-variance are normalised, each to the same share of the bound (paper, Appendix
    C.2; the paper's own bound is 1). Between normalised inputs and outputs the mean is then Lipschitz with constant
    bound · `SILU_LIPSCHITZ` ^ (number of hidden layers).

    Args:
        ensemble: Its layers are parametrised until `bake`.
        bound: The product.
        generator: Draws the first vectors of the power iterations, on the CPU.
    """
    layers = ensemble.mean_layers
    norm = bound ** (1.0 / len(layers))
    for layer in layers:
        normalisation = SpectralNormalisation(layer.weight.detach(), norm=norm, generator=generator)
        parametrize.register_parametrization(layer, "weight", normalisation)


def bake(ensemble: GaussianEnsemble) -> None:
    """Replace the parametrised weights by the effective ones. The ensemble is then an ordinary one."""
    ensemble.eval()
    for layer in ensemble.mean_layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def spectral_norms(ensemble: GaussianEnsemble) -> Float[Tensor, "layer member"]:
    """Return the largest singular value of each layer of the mean, between normalised inputs and normalised outputs.

    Their product over the layers bounds the slope of the mean, up to the activations.
    """
    *hidden, head = (layer.weight for layer in ensemble.mean_layers)
    return torch.stack([torch.linalg.matrix_norm(weight, ord=2) for weight in (*hidden, head / ensemble.target_std)])
