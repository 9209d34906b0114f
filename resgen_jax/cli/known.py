"""Names and defaults of flags that stand on other floors, where a page of help does not look.

To import them is to import JAX. `tests/cli/test_known.py` compares each with its origin.
"""

ITSELF = "itself"
JOIN_TIMEOUT = 300
LABELS = ("balanced", "random")
CROPS = ("center", "adm")
REFERENCE_CROP = "adm"
FEATURE_NETWORKS = ("efficientnet", "inception", "lpips", "mobilenet")
WEIGHTS_VARIABLE = "RESGEN_WEIGHTS"
VAR_CHOICES = ("distance", "direction")
LAWS = ("joint", "compute")
HEADS = ("mixture", "codes", "levels", "flow")
PROGRAMS = ("train", "sample", "encode", "decode", "evaluate")
RECORDS_PER_SHARD = 2**16

ORIGINS = {
    "ITSELF": "runtime.joining.ITSELF",
    "JOIN_TIMEOUT": "runtime.joining.TIMEOUT",
    "LABELS": "runs.sampling.LABELS",
    "CROPS": "data.views.CROPS",
    "REFERENCE_CROP": "runs.evaluate_files.CROP",
    "FEATURE_NETWORKS": "convert.weights.FEATURE_NETWORKS",
    "WEIGHTS_VARIABLE": "convert.weights.VARIABLE",
    "VAR_CHOICES": "quantizers.multi_scale.CHOICES",
    "LAWS": "scaling.laws.report.LAWS",
    "HEADS": "scaling.sampler_bench.HEADS",
    "PROGRAMS": "runs.study.compile_jobs.PROGRAMS",
    "RECORDS_PER_SHARD": "data.codes_writer.RECORDS_PER_SHARD",
}
