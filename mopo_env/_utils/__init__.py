"""What every folder needs and nobody else should import: checks of options, spaces, devices, and the file store.

`options` checks what a user gives, `spaces` and `devices` what it is given for; `store` writes and reads every file.
"""
