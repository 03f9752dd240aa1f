"""A linear system with Gaussian noise and a quadratic cost, whose returns have a closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import refuse_rendering
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import ConfigError
from mopo_env.toys.stub import StubEnsemble
from mopo_env.transitions import Episode, Transitions

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class LinearGaussianSystem:
    """x′ = A·x + B·u + w and r = −(xᵀQx + uᵀRu) + v, with independent Gaussian noise w and v.

    The defaults are a cart with friction: position and velocity, pushed by one force.

    Attributes:
        a: A, shape ``(state, state)``.
        b: B, shape ``(state, input)``.
        q: Q, shape ``(state, state)``.
        r: R, shape ``(input, input)``.
        noise_std: Standard deviation of w, one number for each state.
        reward_std: Standard deviation of v.
        input_limit: Inputs lie between minus this and this.
    """

    a: Matrix = ((1.0, 0.1), (0.0, 0.98))
    b: Matrix = ((0.0,), (0.5,))
    q: Matrix = ((1.0, 0.0), (0.0, 0.1))
    r: Matrix = ((0.25,),)
    noise_std: Sequence[float] = (0.05, 0.02)
    reward_std: float = 0.07
    input_limit: float = 1.0

    @property
    def observation_dim(self) -> int:
        """Number of states."""
        return len(self.a)

    @property
    def action_dim(self) -> int:
        """Number of inputs."""
        return len(self.r)

    @property
    def output_std(self) -> np.ndarray:
        """Standard deviations of next state and reward, shape ``(state + 1,)``: the std of a perfect model."""
        return np.array([*self.noise_std, self.reward_std])

    def model(self, *, std: Any = None, num_members: int | None = None) -> StubEnsemble:
        """Return the true system as a model.

        Args:
            std: The standard deviations of the model, as in `StubEnsemble`; default: the true ones.
            num_members: Number of equal members.
        """
        return StubEnsemble(
            self.observation_dim,
            self.action_dim,
            mean=self._mean,
            std=self.output_std[None] if std is None else std,
            num_members=num_members,
        )

    def transitions(self, *, num_episodes: int = 20, num_steps: int = 50, seed: int = 0) -> Transitions:
        """Record episodes under random inputs, from random starts in the unit square."""
        random = np.random.default_rng(seed)
        return Transitions.from_episodes(
            [self._episode(num_steps, random) for _ in range(num_episodes)],
            action_space=self._action_space(),
            metadata={"name": "linear-gaussian"},
        )

    def start_transitions(self, start: Sequence[float]) -> Transitions:
        """Return a dataset of two rows that both start in a given state."""
        observations = np.array([start, start], dtype=np.float32)
        return Transitions(
            observations=observations,
            actions=np.zeros((2, self.action_dim)),
            rewards=np.zeros(2),
            next_observations=observations,
            terminations=np.zeros(2, dtype=bool),
            truncations=np.ones(2, dtype=bool),
            action_space=self._action_space(),
        )

    def expected_return(
        self,
        gain: Matrix,
        start: Sequence[float],
        *,
        horizon: int,
        discount: float = 1.0,
        penalty_coef: float = 0.0,
    ) -> float:
        """Return E Σₜ γᵗ (rₜ − λ‖σ‖₂) over h steps under u = −K·x, in closed form.

        The second moment M of the state obeys M′ = (A − BK)·M·(A − BK)ᵀ + diag(σ²), and the expected cost of a step
        is tr((Q + KᵀRK)·M). The penalty is the norm of `output_std`, the reward's noise included.

        Raises:
            ConfigError: If an input reaches `input_limit` within four standard deviations. With clipped inputs there is
                no closed form.
        """
        a, b, q, r, k = (np.array(matrix) for matrix in (self.a, self.b, self.q, self.r, gain))
        closed_loop, weight = a - b @ k, q + k.T @ r @ k
        state, moment = np.array(start, dtype=float), np.outer(start, start)
        penalty = penalty_coef * float(np.linalg.norm(self.output_std))
        total = 0.0
        for step in range(horizon):
            spread = np.sqrt(np.diag(k @ (moment - np.outer(state, state)) @ k.T).clip(min=0.0))
            largest = float((np.abs(k @ state) + 4.0 * spread).max())
            if largest > self.input_limit:
                raise ConfigError(
                    f"input_limit: inputs reach {largest:.3g} in step {step}, beyond {self.input_limit:g}, where they "
                    "are clipped and the return has no closed form. Choose a smaller gain or start, or a higher limit."
                )
            total += discount**step * (-float(np.trace(weight @ moment)) - penalty)
            state = closed_loop @ state
            moment = closed_loop @ moment @ closed_loop.T + np.diag(np.square(self.noise_std))
        return float(total)

    def _mean(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        a, b, q, r = (torch.tensor(matrix, dtype=observations.dtype) for matrix in (self.a, self.b, self.q, self.r))
        cost = torch.einsum("ni,ij,nj->n", observations, q, observations)
        cost = cost + torch.einsum("ni,ij,nj->n", actions, r, actions)
        return observations @ a.T + actions @ b.T, -cost

    def _action_space(self) -> Box:
        return Box(-self.input_limit, self.input_limit, (self.action_dim,), np.float32)

    def _episode(self, num_steps: int, random: np.random.Generator) -> Episode:
        a, b, q, r = (np.array(matrix) for matrix in (self.a, self.b, self.q, self.r))
        state = random.uniform(-1, 1, self.observation_dim)
        states, inputs, rewards = [state], [], []
        for _ in range(num_steps):
            force = random.uniform(-self.input_limit, self.input_limit, self.action_dim)
            rewards.append(-(state @ q @ state + force @ r @ force) + self.reward_std * random.normal())
            state = a @ state + b @ force + np.array(self.noise_std) * random.normal(size=self.observation_dim)
            states.append(state)
            inputs.append(force)
        return Episode(observations=np.array(states), actions=np.array(inputs), rewards=np.array(rewards))


def make_toy_env(*, horizon: int = 20, render_mode: str | None = None, **options: Any) -> PenalizedModelEnv:
    """Build ``MOPO-linear-gaussian``: the default system with a perfect model.

    Args:
        horizon: h.
        render_mode: None; Gymnasium passes it.
        **options: `penalty`, `penalty_coef` and `termination`, as in `PenalizedModel`.
    """
    refuse_rendering(render_mode)
    return PenalizedModelEnv(_toy_model(**options), horizon=horizon)


def make_toy_vector_env(
    *,
    num_envs: int = 1,
    horizon: int = 20,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    render_mode: str | None = None,
    **options: Any,
) -> PenalizedModelVectorEnv:
    """Build the vector form of ``MOPO-linear-gaussian``; the arguments are those of `make_toy_env`."""
    return PenalizedModelVectorEnv(
        _toy_model(**options),
        num_envs=num_envs,
        horizon=horizon,
        autoreset_mode=autoreset_mode,
        render_mode=render_mode,
    )


def _toy_model(**options: Any) -> PenalizedModel:
    system = LinearGaussianSystem()
    return PenalizedModel(system.model(), system.transitions(), **options)
