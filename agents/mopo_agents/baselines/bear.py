"""`BEAR`: bootstrapping error accumulation reduction (Kumar et al. 2019), and its model of the recorded actions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import ReplayBufferSamples, Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn

from mopo_agents.baselines.divergences import KERNELS, mmd
from mopo_agents.baselines.multiplier import Multiplier
from mopo_agents.baselines.offline import descend
from mopo_agents.baselines.regularised import RegularisedActorCritic
from mopo_agents.sb3.squashed_gaussian import draw, squash
from mopo_env._utils.options import check_integer, check_number
from mopo_env.errors import UnknownNameError

_NUM_MMD_SAMPLES = 4
_NUM_TARGET_SAMPLES = 10
_MINIMUM_SHARE = 0.75
_VAE_LEARNING_RATE = 3e-4
_MULTIPLIER_LEARNING_RATE = 1e-3
# From BEAR's code, which took them from BCQ (Fujimoto et al. 2019).
_KL_WEIGHT = 0.5
_LOWEST_LOG_STD, _HIGHEST_LOG_STD = -4.0, 15.0
_LATENT_LIMIT = 0.5


class BEARPolicy(SACPolicy):
    """SAC's networks; the deterministic action is the best of several actions of the actor, by the first critic.

    Their noise is drawn once and used in every state. So the policy is a deterministic function of the state, and
    `predict` uses no random generator.
    """

    candidate_noise: Tensor

    def __init__(self, *args: Any, num_candidates: int = 100, **options: Any) -> None:
        """Build the networks.

        Args:
            *args: Stable-Baselines3's.
            num_candidates: Number of actions to choose from; 100 in D4RL's runs of BEAR.
            **options: Stable-Baselines3's.
        """
        self.num_candidates = check_integer("num_candidates", num_candidates)
        super().__init__(*args, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        noise = torch.randn(
            self.num_candidates, get_action_dim(self.action_space), generator=torch.Generator().manual_seed(0)
        )
        self.register_buffer("candidate_noise", noise)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        if not deterministic:
            return super()._predict(observation)
        mean, log_std, _ = self.actor.get_action_dist_params(observation)
        actions = squash(mean[:, None], log_std[:, None], self.candidate_noise)
        states = observation[:, None].expand(-1, self.num_candidates, -1)
        values = self.critic.q1_forward(states.flatten(0, 1), actions.flatten(0, 1))
        best = values.view(-1, self.num_candidates).argmax(dim=1)
        # Without the number of rows, so that an exported policy takes batches of any size.
        return actions.gather(1, best[:, None, None].expand(-1, 1, actions.shape[2]))[:, 0]


class BEAR(RegularisedActorCritic):
    """Actor-critic whose policy stays within the support of the data (Kumar et al. 2019, section 5 and Algorithm 1).

    The policy maximises min_j Q_j(s, a) subject to E_s[MMD(π_b, π)] ≤ ε, by dual gradient descent. The MMD
    compares actions before the tanh. π_b is a variational auto-encoder that trains at the same time. The critic's
    target is the largest value of ¾·min_j Q_j + ¼·max_j Q_j over ten actions of the policy.

    The hyperparameters are those of the authors' second implementation; the paper prints D4RL's results with it
    (Table 1). They are networks of 2×256 and a VAE of 2×750, learning rates 3·10⁻⁴ and, for the actor, 10⁻⁴, ε = 0.05,
    four samples for the MMD, and 40,000 warm-up updates. The authors used a Gaussian kernel with σ = 20 for
    HalfCheetah, which is the default here, and a Laplacian kernel with σ = 20 for Hopper and Walker2d.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": BEARPolicy}
    default_warmup_updates: ClassVar[int] = 40_000

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 3e-4,
        *,
        actor_learning_rate: float = 1e-4,
        threshold: float = 0.05,
        kernel: str = "gaussian",
        sigma: float = 20.0,
        vae_units: int = 750,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: Learning rate of the critics.
            actor_learning_rate: Learning rate of the actor.
            threshold: ε, the limit of the mean MMD.
            kernel: Kernel of the MMD, ``"gaussian"`` or ``"laplacian"``.
            sigma: σ of the kernel, see `mopo_agents.baselines.divergences`.
            vae_units: Width of the two hidden layers of encoder and decoder.
            **options: As in `RegularisedActorCritic`.
        """
        if kernel not in KERNELS:
            raise UnknownNameError("kernel", kernel, KERNELS)
        self.kernel = kernel
        self.threshold = check_number("threshold", threshold)
        self.sigma = check_number("sigma", sigma, above=0.0)
        self.vae_units = check_integer("vae_units", vae_units)
        super().__init__(policy, env, learning_rate, actor_learning_rate=actor_learning_rate, **options)

    @property
    def divergence_weight(self) -> Tensor:
        """α, the multiplier of the constraint."""
        return self.multiplier.value

    def _setup_model(self) -> None:
        super()._setup_model()
        sizes = self.actor.features_extractor.features_dim, get_action_dim(self.action_space)
        self.vae = ActionVAE(*sizes, num_units=self.vae_units, learning_rate=_VAE_LEARNING_RATE).to(self.device)
        self.multiplier = Multiplier(_MULTIPLIER_LEARNING_RATE).to(self.device)

    def _learn_behaviour(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        return {"vae_loss": self.vae.update(self._features(batch.observations), batch.actions)}

    def _next_values(self, observations: Tensor) -> Tensor:
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        actions = draw(mean, log_std, _NUM_TARGET_SAMPLES).tanh()
        states = observations[:, None].expand(-1, _NUM_TARGET_SAMPLES, -1)
        values = torch.cat(self.critic_target(states.flatten(0, 1), actions.flatten(0, 1)), dim=1)
        mixed = _MINIMUM_SHARE * values.amin(dim=1) + (1.0 - _MINIMUM_SHARE) * values.amax(dim=1)
        return mixed.view(len(observations), _NUM_TARGET_SAMPLES).amax(dim=1, keepdim=True)

    def _regulariser(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        own = draw(mean, log_std, _NUM_MMD_SAMPLES)
        recorded = self.vae.draw(self._features(observations), _NUM_MMD_SAMPLES)
        return own[:, 0].tanh(), mmd(own, recorded, KERNELS[self.kernel], self.sigma)

    def _features(self, observations: Tensor) -> Tensor:
        """Return the observations that the actor's layers receive, standardised where that is on."""
        return self.actor.extract_features(observations, self.actor.features_extractor)

    def _after_actor(self, divergence: Tensor) -> None:
        self.multiplier.update(divergence.mean() - self.threshold)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, tensors = super()._get_torch_save_params()
        return [*names, "vae", "vae.optimizer", "multiplier", "multiplier.optimizer"], tensors


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
