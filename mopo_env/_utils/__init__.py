"""What every folder needs and nobody else should import; it imports nothing of the other folders but the errors.

`options`, `arrays`, `spaces` and `devices` check what a user gives. `store` writes and reads every file, and `tensors`
puts what was read into modules. `lazy` keeps imports quick.
"""
