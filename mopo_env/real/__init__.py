"""The real environments: data are recorded and policies are evaluated in them. No policy is trained there.

Read `real_env` first, which builds them. `reward_envs` has those that Gymnasium lacks. `robots` describes the
observation of each robot, and with it `true_dynamics` steps MuJoCo from observations, for the oracle.
"""
