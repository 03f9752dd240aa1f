"""What is put before the classes of Stable-Baselines3's agents, each by a mixin that steps aside where it does not fit.

`compose` chooses the mixins, `mixins` says how they are put there and how the result tells it. `batched_rollouts`
replaces the rollout loop, `fast_sac` the update of SAC; both give what Stable-Baselines3's own code gives, and
`make_agent(..., fast=False)` leaves both out. `overlap` runs the two side by side, `value_agents` sets DQN and its kin
up. `untouched` asks whether an object computes what its class says, `squashed_gaussian` is the policies' distribution.
"""
