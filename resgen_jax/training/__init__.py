"""Floor 5: mesh, state, optimizer, checkpoints, metrics out, and the loop that runs a task.

`loop.run` trains; `mesh`, `optimizer` and `state` are what a task is made of; `checkpoint` and
`writer` read a run directory back.
"""
