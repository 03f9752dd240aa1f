"""Mixins for the classes of Stable-Baselines3's agents.

`compose` chooses the mixins for an agent, and `mixins` applies them. `batched_rollouts` replaces the rollout loop and
`fast_sac` replaces SAC's update. Both give the results of Stable-Baselines3's own code, and
`make_agent(..., fast=False)` switches both off. `overlap` runs the two at the same time. `value_agents` adapts DQN and
QRDQN to many rollouts. `standardise` scales observations, and `squashed_gaussian` is the policies' distribution.
"""
