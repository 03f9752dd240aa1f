"""`BC`: behaviour cloning."""

from __future__ import annotations

from typing import Any, ClassVar

from stable_baselines3.common.policies import BasePolicy

from mopo_agents.baselines.cloning import BoundedActorPolicy, Cloner
from mopo_agents.baselines.offline import OfflineAgent
from mopo_env._utils.options import check_number

__all__ = ["BC"]


class BC(OfflineAgent):
    """Behaviour cloning: the likeliest policy given the recorded actions; rewards are not looked at.

    The paper has no such row. Loss and hyperparameters are those with which Wu et al. 2019 fit the behaviour policy of
    BRAC, and D4RL its "BC": two layers of 200, Adam with 5·10⁻⁴, batches of 256; see `Cloner`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": BoundedActorPolicy}
    policy: BoundedActorPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 5e-4,
        *,
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: Of the actor and of the entropy constraint; a number, or a schedule as in Stable-Baselines3.
            policy_kwargs: Of the policy; default: two layers of 200.
            _init_setup_model: Stable-Baselines3's, for loading.
            **options: As in `OfflineAgent` and Stable-Baselines3's off-policy agents.

        Raises:
            ConfigError: If an option is wrong.
        """
        if not callable(learning_rate):
            learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        policy_kwargs = {"net_arch": [200, 200], **(policy_kwargs or {})}
        super().__init__(policy, env, learning_rate, policy_kwargs=policy_kwargs, sde_support=False, **options)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        self.actor = self.policy.actor
        self.cloner = Cloner(self.actor, learning_rate=self.lr_schedule(1.0))

    def _train_epoch(self, gradient_steps: int, batch_size: int) -> None:
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.cloner.optimizer, self.cloner.entropy_weight.optimizer])
        total = 0.0
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size)
            total += float(self.cloner.update(batch.observations, batch.actions))
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/log_likelihood", total / gradient_steps)
        self.logger.record("train/entropy_weight", float(self.cloner.entropy_weight.value))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "cloner"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "cloner.optimizer", "cloner.entropy_weight"], []
