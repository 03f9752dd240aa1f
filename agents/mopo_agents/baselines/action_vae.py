"""`ActionVAE`: a generative model of the recorded actions, given the state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from mopo_agents.baselines.offline import descend

__all__ = ["ActionVAE", "kl_to_standard_normal", "vae_loss"]

# From BEAR's code, which took them from BCQ (Fujimoto et al. 2019).
_KL_WEIGHT = 0.5
_LOWEST_LOG_STD, _HIGHEST_LOG_STD = -4.0, 15.0
_LATENT_LIMIT = 0.5


def kl_to_standard_normal(
    mean: Float[Tensor, "batch latent"], log_std: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) = ½(μ² + σ² − 1) − log σ of each latent."""
    return 0.5 * (mean.square() + (2.0 * log_std).exp() - 1.0) - log_std


def vae_loss(
    reconstruction: Float[Tensor, "batch action"],
    actions: Float[Tensor, "batch action"],
    mean: Float[Tensor, "batch latent"],
    log_std: Float[Tensor, "batch latent"],
) -> Float[Tensor, ""]:
    """Return the mean squared error plus half the mean divergence of the latents (BEAR's code)."""
    return F.mse_loss(reconstruction, actions) + _KL_WEIGHT * kl_to_standard_normal(mean, log_std).mean()


class ActionVAE(nn.Module):
    """A conditional variational auto-encoder π_b(a|s) of actions in −1…1; the latent is twice as wide as an action."""

    def __init__(self, observation_dim: int, action_dim: int, *, num_units: int, learning_rate: float) -> None:
        super().__init__()
        self.latent_dim = 2 * action_dim
        hidden = [num_units, num_units]
        self.encoder = nn.Sequential(*create_mlp(observation_dim + action_dim, 2 * self.latent_dim, hidden))
        self.decoder = nn.Sequential(*create_mlp(observation_dim + self.latent_dim, action_dim, hidden))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def update(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> Float[Tensor, ""]:
        """Take one gradient step on a batch, and return its loss."""
        mean, log_std = self.encoder(torch.cat([observations, actions], dim=1)).chunk(2, dim=1)
        log_std = log_std.clamp(_LOWEST_LOG_STD, _HIGHEST_LOG_STD)
        latents = mean + log_std.exp() * torch.randn_like(mean)
        reconstruction = self.decoder(torch.cat([observations, latents], dim=1)).tanh()
        loss = vae_loss(reconstruction, actions, mean, log_std)
        descend(self.optimizer, loss)
        return loss.detach()

    @torch.no_grad()
    def draw(
        self, observations: Float[Tensor, "batch observation"], num_samples: int
    ) -> Float[Tensor, "batch sample action"]:
        """Draw actions before the tanh; latents are clamped to −½…½, where actions are more likely."""
        latents = torch.randn(len(observations), num_samples, self.latent_dim, device=observations.device)
        latents = latents.clamp(-_LATENT_LIMIT, _LATENT_LIMIT)
        states = observations[:, None].expand(-1, num_samples, -1)
        drawn: Tensor = self.decoder(torch.cat([states, latents], dim=2))
        return drawn
