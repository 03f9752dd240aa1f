"""The real systems: where data are recorded and policies are evaluated, never where they are trained.

`real_env` makes them, `reward_envs` are those that Gymnasium lacks. `true_dynamics` steps MuJoCo from observations, for
the oracle; `robots` says what each robot's observation holds.
"""
