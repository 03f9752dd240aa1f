"""`TrueDynamics`: T, the real dynamics. It steps MuJoCo from many observations at once."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from mopo_env._utils.arrays import check_rows
from mopo_env._utils.options import check_integer
from mopo_env.errors import require_extra
from mopo_env.models.protocol import Actions, GaussianPrediction, Observations
from mopo_env.real.real_env import make_env_by_id, quiet_mujoco
from mopo_env.real.robots import Motion, get_robot

# MuJoCo returns every substep: 5 MB for this many rows of the largest robot.
_ROWS_PER_CHUNK = 4096
# MuJoCo's own bound: it calls a larger state unstable, and replaces it by the initial one on the next substep.
_LARGEST = 1e10


class TrueStep(NamedTuple):
    """One step of a batch in the simulator, in raw units and float64; rows without a true step are NaN.

    Attributes:
        next_observations: s′ = T(s, a).
        rewards: r(s, a).
    """

    next_observations: Float[np.ndarray, "batch observation"]
    rewards: Float[np.ndarray, " batch"]


class TrueDynamics:
    """The real dynamics of a robot, as a batched function and as a `DynamicsModel` of one member whose std is 0.

    The state is computed from the observation. The missing x (and y) are set to 0. Time, past forces and the solver's
    warm start are those of a fresh simulator. None of these changes the motion: from a float64 observation, a step
    equals the environment's to 1e-7 or better. There are two limits:

    * Datasets are float32. Rounding moves a next observation by about 1e-6, or by as much as a contact does if it
      decides whether there is a contact.
    * Hopper and Walker2d clip the velocities they show to ±10. From a clipped velocity, the step starts in a wrong
      state. In Walker2d this is common, so T is less reliable there.

    `docs/oracle.md` has measurements of both. A row without a true step is NaN: if an input is not finite, an
    orientation has length 0, or MuJoCo calls the motion unstable, as it can for impossible predicted states.
    Orientations are normalised to length 1 first. Calls from several threads wait for each other.

    Attributes:
        env_id: The environment, a key of `mopo_env.real.robots.ROBOTS`, such as ``"Hopper-v5"``.
        observation_dim: Width of an observation.
        action_dim: Width of an action.
        num_threads: Number of threads that step the simulator; results do not depend on it.
        device: Always the CPU.
    """

    device = torch.device("cpu")

    def __init__(self, env_id: str, *, num_threads: int = 1) -> None:
        """Build the simulator of an environment. The arguments are described at the class.

        Raises:
            ConfigError: If the environment is not in `ROBOTS`, or `num_threads` is wrong.
            MissingExtraError: If MuJoCo is not installed.
        """
        self._robot = get_robot(env_id)
        self.env_id, self.num_threads = env_id, check_integer("num_threads", num_threads)
        self._mujoco = require_extra("mujoco", "mujoco")
        env = make_env_by_id(env_id).unwrapped
        self._model, self._num_substeps = env.model, env.frame_skip  # type: ignore[attr-defined]
        env.close()
        self._data = [self._mujoco.MjData(self._model) for _ in range(self.num_threads)]
        # With 0 threads, the pool works in the calling thread.
        self._pool = require_extra("mujoco.rollout", "mujoco").Rollout(
            nthread=self.num_threads if self.num_threads > 1 else 0
        )
        self._lock = Lock()
        self.observation_dim = self._model.nq + self._model.nv - self._robot.num_hidden
        self.action_dim = self._model.nu

    def step(self, observations: np.ndarray, actions: np.ndarray) -> TrueStep:
        """Step the simulator from every row.

        Args:
            observations: s, shape ``(rows, observation)``, raw units.
            actions: a, shape ``(rows, action)``, raw units; they are not clipped.

        Raises:
            InputError: If an array has the wrong shape.
        """
        observations, actions = (np.asarray(array, dtype=np.float64) for array in (observations, actions))
        widths = {"observations": (observations, self.observation_dim), "actions": (actions, self.action_dim)}
        rows = check_rows(widths, f"These are the widths of {self.env_id}.")
        next_observations, rewards = np.empty_like(observations), np.empty(rows)
        for start in range(0, rows, _ROWS_PER_CHUNK):
            chunk = slice(start, start + _ROWS_PER_CHUNK)
            next_observations[chunk], rewards[chunk] = self._step(observations[chunk], actions[chunk])
        return TrueStep(next_observations, rewards)

    def predict(self, observations: Observations, actions: Actions) -> GaussianPrediction:
        """Return the true step as the prediction of one member with zero standard deviation, in float32."""
        step = self.step(observations.numpy(), actions.numpy())
        outcome = np.concatenate([step.next_observations, step.rewards[:, None]], axis=1)
        mean = torch.from_numpy(outcome).to(torch.float32)[None]
        return GaussianPrediction(
            observations=observations,
            actions=actions,
            mean=mean,
            std=torch.zeros_like(mean),
            elites=torch.zeros(1, dtype=torch.int64),
        )

    def __reduce__(self) -> tuple[partial[TrueDynamics], tuple[()]]:
        """Copy by building a new object, since threads cannot be copied."""
        return partial(type(self), self.env_id, num_threads=self.num_threads), ()

    def _step(self, observations: np.ndarray, actions: np.ndarray) -> TrueStep:
        robot, model = self._robot, self._model
        # time, positions, velocities
        states = np.zeros((len(observations), 1 + model.nq + model.nv))
        shown = slice(1 + robot.num_hidden, None)
        states[:, shown] = observations
        if robot.quaternion is not None:
            quaternion = states[:, shown][:, robot.quaternion]
            with np.errstate(invalid="ignore"):
                quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        possible = np.isfinite(states).all(axis=1) & np.isfinite(actions).all(axis=1)
        ends = np.full_like(states, np.nan)
        if possible.any():
            with self._lock, quiet_mujoco(self._mujoco):
                substeps, _ = self._pool.rollout(
                    model, self._data, states[possible], actions[possible, None], nstep=self._num_substeps
                )
            ends[possible] = substeps[:, -1]
        seconds = self._num_substeps * model.opt.timestep
        # MuJoCo resets an unstable robot to its initial pose and the time to 0, or stops its clock.
        unstable = ~((np.abs(ends[:, 0] - seconds) < 0.5 * model.opt.timestep) & (np.abs(ends) < _LARGEST).all(axis=1))
        ends[unstable] = np.nan
        next_state = ends[:, shown]
        next_observations = next_state.copy()
        if robot.velocity_limit is not None:
            velocities = next_observations[:, -model.nv :]
            np.clip(velocities, -robot.velocity_limit, robot.velocity_limit, out=velocities)
        rewards = robot.reward(
            Motion(
                observations=observations,
                actions=actions,
                next_observations=next_observations,
                next_state=next_state,
                distance=ends[:, 1],
                seconds=seconds,
            )
        )
        return TrueStep(next_observations, rewards)
