"""Floor 2: image sources, cached codes, and the pipeline that batches them.

`sources.open_images` (digits, folders, ArrayRecord, tar and parquet files), `array_records.write`,
`codes.read`, `codes_writer`, `pipeline.train_iterator`, `pipeline.epoch`.
"""

from resgen_jax.core import lazy

__getattr__ = lazy.modules(__name__, (), {"paths": "resgen_jax.io.paths"})
