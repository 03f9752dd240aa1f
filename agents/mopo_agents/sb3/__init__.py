"""What is put before the classes of Stable-Baselines3's agents, each by a mixin that steps aside where it does not fit.

`mixins` says how. `batched_rollouts` replaces the rollout loop, `fast_sac` the update of SAC; both give what
Stable-Baselines3's own code gives. `overlap` runs the two side by side, `value_agents` sets DQN and its kin up.
"""
