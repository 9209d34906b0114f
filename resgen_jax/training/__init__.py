"""Floor 4: state, tasks, optimizer, and the loop that runs a task.

`loop.run` trains; `state` says what a task is, `placement` where its arrays lie; `checkpoints` save
and restore, `telemetry` is what a run says of itself.
"""
