"""Training runs: their options, the training itself, and the reports about it.

Read `config` and `methods` (the options), `resolve` and `identity` (the complete run), `train` and `callback` (the
training), then `results` and `report` (the output; `mopo_agents.reports` compares runs). `state` saves unfinished work.
"""
