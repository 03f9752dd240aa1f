"""Private helpers of every folder. Of this package, they import only the errors.

Read `options` first: with `arrays`, `spaces` and `devices`, it checks what a user passes. `store` writes and reads
every file, and `tensors` writes and reads neural networks with it. `lazy` keeps imports quick.
"""
