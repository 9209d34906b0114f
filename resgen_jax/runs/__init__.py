"""Floor 7: what every verb calls, and a notebook: opening, training, encoding, sampling, measuring.

`models.open_model`, `train.train`, `encode.encode`, `reconstruct.reconstruct`, `sampling.draw`,
`evaluate_runs` and `evaluate_files`; `configs` reads config files, `study` and `demo` are made of
the others. Nothing here names a method: `recipes` does.
"""
