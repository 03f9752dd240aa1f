"""The dataset card: what a dataset holds, and what looks wrong in it.

`card` gathers it, `statistics` computes, `problems` judges; `text` and `plot` show it.
"""
