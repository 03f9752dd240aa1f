"""Training runs: what one can choose, how it is carried out, and what it leaves.

Read `config` and `methods` (what is chosen), `resolve` and `identity` (what that comes to), then `train` with
`callback` (what happens), then `results`, `comparison` and `report` (what is shown). `state` keeps unfinished work.
"""
