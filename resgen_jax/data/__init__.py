"""Floor 2: image sources, cached codes, and the pipeline that batches them.

`sources.open_images` (digits, folders, ArrayRecord, tar and parquet files), `array_records.write`,
`codes.read`, `codes_writer`, `pipeline.train_iterator`, `pipeline.epoch`.
"""
