"""Config files of both stages on digits, as small as they can be."""

TOKENIZER = '''"""A tokenizer of digits for tests."""
import ml_collections

def get_config(arg=""):
    return ml_collections.ConfigDict({
        "task": "rq_vae", "seed": 0,
        "data": {"source": "digits", "path": "", "image_size": 8, "channels": 1, "batch_size": 16,
                 "num_threads": 0, "max_unreadable": 0, "min_classes": 2},
        "model": {"width": 8, "multipliers": (1, 1), "code_dim": 4, "num_res_blocks": 1},
        "quantizer": {"learner": "ema", "depth": 3, "codebook_size": 8},
        "loss": {"start_step": 2},
        "optimizer": {"learning_rate": 1e-3},
        "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
        "train": {"num_steps": 6, "log_every": 1, "evaluate_every": 4, "checkpoint_every": 3},
    })
'''
GENERATOR = '''"""A generator of digits for tests."""
import ml_collections

def get_config(arg=""):
    return ml_collections.ConfigDict({
        "task": "resgen", "seed": 0,
        "data": {"codes": "", "batch_size": 16, "num_threads": 0},
        "model": {"trunk": {"num_layers": 1, "width": 16, "num_heads": 2, "mlp_width": 16,
                                  "modulation_width": 16},
                  "num_components": 4, "rank": 2, "mask_dim": 4},
        "loss": {"num_nll_draws": 2},
        "optimizer": {"learning_rate": 1e-3},
        "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
        "train": {"num_steps": 4, "log_every": 1, "evaluate_every": 4, "checkpoint_every": 2},
        "sampler": {"num_steps": 3, "guidance_scale": 1.5},
    })
'''
