"""Floor 3: image sources, cached codes, and the pipeline that batches them.

`sources.open_images`, `codes.read`, `codes.write`, `pipeline.train_iterator`, `pipeline.epoch`.
"""
