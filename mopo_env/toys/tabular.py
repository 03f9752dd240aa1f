"""Tabular Markov decision processes. Linear equations give their returns, so the paper's bounds can be tested."""

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float, Int64
from torch import Tensor

from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions


@dataclass(frozen=True, kw_only=True, eq=False)
class TabularMDP:
    """M = (S, A, T, r, μ₀, γ) with few states and actions.

    In environments, a state is a one-hot observation. An action is a vector with one number for each action, and its
    largest entry decides, so that every agent for boxes can act.

    Attributes:
        probabilities: T, shape ``(state, action, next_state)``; rows sum to 1.
        rewards: r, shape ``(state, action)``.
        start: μ₀, shape ``(state,)``.
        discount: γ, at least 0 and below 1.
    """

    probabilities: np.ndarray
    rewards: np.ndarray
    start: np.ndarray
    discount: float

    def __post_init__(self) -> None:
        """Check every array.

        Raises:
            ConfigError: If a shape is wrong, a row of probabilities does not sum to 1, or γ is outside its range.
        """
        for name in ("probabilities", "rewards", "start"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        num_states, num_actions = self.rewards.shape
        if self.probabilities.shape != (num_states, num_actions, num_states):
            raise ConfigError(
                f"probabilities: found shape {self.probabilities.shape}, expected "
                f"{(num_states, num_actions, num_states)} from the shape of rewards."
            )
        if self.start.shape != (num_states,):
            raise ConfigError(f"start: found shape {self.start.shape}, expected {(num_states,)}.")
        for name, values in (("probabilities", self.probabilities), ("start", self.start)):
            if (values < 0).any() or not np.allclose(values.sum(axis=-1), 1.0):
                raise ConfigError(f"{name}: expected non-negative numbers that sum to 1 along the last axis.")
        if not 0 <= self.discount < 1:
            raise ConfigError(f"discount: expected a number from 0 to below 1, found {self.discount!r}.")

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.rewards)

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return int(self.rewards.shape[1])

    def values(self, policy: np.ndarray) -> np.ndarray:
        """Return V^π, shape ``(state,)``, of a policy of shape ``(state, action)``."""
        chain = np.einsum("sa,san->sn", policy, self.probabilities)
        rewards = (policy * self.rewards).sum(axis=1)
        return np.asarray(np.linalg.solve(np.eye(self.num_states) - self.discount * chain, rewards))

    def expected_return(self, policy: np.ndarray) -> float:
        """Return η = E Σₜ γᵗ rₜ over an endless episode."""
        return float(self.start @ self.values(policy))

    def horizon_return(self, policy: np.ndarray, horizon: int) -> float:
        """Return E Σₜ rₜ, undiscounted, over the first h steps."""
        chain = np.einsum("sa,san->sn", policy, self.probabilities)
        rewards, distribution, total = (policy * self.rewards).sum(axis=1), self.start, 0.0
        for _ in range(horizon):
            total += float(distribution @ rewards)
            distribution = distribution @ chain
        return total

    def occupancy(self, policy: np.ndarray) -> np.ndarray:
        """Return Σₜ γᵗ P(sₜ = s, aₜ = a), shape ``(state, action)``: ρ of the paper times 1/(1 − γ)."""
        chain = np.einsum("sa,san->sn", policy, self.probabilities)
        states = np.linalg.solve(np.eye(self.num_states) - self.discount * chain.T, self.start)
        return np.asarray(states[:, None] * policy)

    def optimal_policy(self) -> np.ndarray:
        """Return a deterministic optimal policy, shape ``(state, action)``, by policy iteration."""
        policy = np.eye(self.num_actions)[np.zeros(self.num_states, dtype=int)]
        while True:
            action_values = self.rewards + self.discount * self.probabilities @ self.values(policy)
            # Only a better action replaces the current one: otherwise equal actions could alternate for ever.
            current = (policy * action_values).sum(axis=1)
            better = action_values.max(axis=1) > current + 1e-12 * (1.0 + np.abs(current))
            if not better.any():
                return policy
            choice = np.where(better, action_values.argmax(axis=1), policy.argmax(axis=1))
            policy = np.eye(self.num_actions)[choice]

    def penalised(self, error: np.ndarray, penalty_coef: float) -> "TabularMDP":
        """Return M̃, whose reward is r − λ·u, u of shape ``(state, action)``."""
        return TabularMDP(
            probabilities=self.probabilities,
            rewards=self.rewards - penalty_coef * np.asarray(error),
            start=self.start,
            discount=self.discount,
        )

    def transitions(self, *, num_rows: int = 100, seed: int = 0) -> Transitions:
        """Record single steps under random actions, from states drawn from μ₀."""
        random = np.random.default_rng(seed)
        states = random.choice(self.num_states, size=num_rows, p=self.start)
        actions = random.choice(self.num_actions, size=num_rows)
        next_states = np.array(
            [
                random.choice(self.num_states, p=self.probabilities[state, action])
                for state, action in zip(states, actions, strict=True)
            ]
        )
        one_hot = np.eye(self.num_states, dtype=np.float32)
        return Transitions(
            observations=one_hot[states],
            actions=2.0 * np.eye(self.num_actions)[actions] - 1.0,
            rewards=self.rewards[states, actions],
            next_observations=one_hot[next_states],
            terminations=np.zeros(num_rows, dtype=bool),
            truncations=np.ones(num_rows, dtype=bool),
            observation_space=Box(0.0, 1.0, (self.num_states,), np.float32),
        )

    def model(self, error: np.ndarray | None = None) -> "TabularModel":
        """Return this process as a model with the stated error u, shape ``(state, action)``; default: zero."""
        return TabularModel(self, np.zeros_like(self.rewards) if error is None else np.asarray(error))


@dataclass(frozen=True, kw_only=True)
class TabularPrediction:
    """The prediction of a `TabularModel`: probabilities of each next state, r(s, a), and the stated error u(s, a)."""

    observations: Float[Tensor, "batch state"]
    actions: Float[Tensor, "batch action"]
    probabilities: Float[Tensor, "batch state"]
    rewards: Float[Tensor, " batch"]
    error: Float[Tensor, " batch"]

    def sample(self, generator: torch.Generator) -> tuple[Float[Tensor, "batch state"], Float[Tensor, " batch"]]:
        """Draw next states."""
        states: Int64[Tensor, " batch"] = torch.multinomial(self.probabilities, 1, generator=generator)[:, 0]
        return torch.nn.functional.one_hot(states, self.probabilities.shape[1]).to(torch.float32), self.rewards


class TabularModel:
    """A `TabularMDP` as a dynamics model."""

    device = torch.device("cpu")

    def __init__(self, mdp: TabularMDP, error: np.ndarray) -> None:
        """Join a process and its stated error; see `TabularMDP.model`.

        Raises:
            ConfigError: If the error does not have the shape of the rewards.
        """
        if error.shape != mdp.rewards.shape:
            raise ConfigError(f"error: found shape {error.shape}, expected {mdp.rewards.shape}.")
        self.observation_dim, self.action_dim = mdp.num_states, mdp.num_actions
        self._probabilities, self._rewards, self._error = (
            torch.tensor(array, dtype=torch.float32) for array in (mdp.probabilities, mdp.rewards, error)
        )

    def predict(
        self, observations: Float[Tensor, "batch state"], actions: Float[Tensor, "batch action"]
    ) -> TabularPrediction:
        """Return the entries of the tables for each state and action."""
        where = observations.argmax(dim=1), actions.argmax(dim=1)
        return TabularPrediction(
            observations=observations,
            actions=actions,
            probabilities=self._probabilities[where],
            rewards=self._rewards[where],
            error=self._error[where],
        )


def tabular_error(prediction: TabularPrediction) -> Float[Tensor, " batch"]:
    """Return the stated error u(s, a): a penalty for a `TabularModel`."""
    return prediction.error
