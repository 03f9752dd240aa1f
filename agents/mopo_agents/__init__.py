"""Train, evaluate and compare Stable-Baselines3 agents on the environments of `mopo_env`."""
