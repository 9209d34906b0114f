"""The section `train` of a config: how long to train, and what is done how often meanwhile."""

import dataclasses

from resgen_jax.core import errors
from resgen_jax.training.telemetry import sinks

AT_LEAST_ONE = ("num_steps", "log_every", "keep_last")
MOST = 2**31 - 1  # what a state's counter of steps holds


@dataclasses.dataclass(frozen=True)
class Spec:
    """How long to train, and how often to log, measure and save; 0 means only at the end."""

    num_steps: int  # after which training ends
    log_every: int = 50  # steps between two lines of metrics; 0 = only at the end
    evaluate_every: int = 0  # steps between two held-out measurements; 0 = only at the end
    checkpoint_every: int = 0  # steps between two checkpoints; 0 = only at the end
    keep_last: int = 2  # how many of the newest checkpoints stay
    keep_every: int = 0  # checkpoints at multiples of this stay for good; 0 = none do
    local_checkpoints: str = ""  # a fast disk of this machine: /dev/shm/resgen; empty = none there
    local_checkpoint_every: int = 0  # steps between two of those; 0 = none
    num_held_out_batches: int = 0  # that are measured, spread over all classes; 0 = all
    stall_seconds: float = 600.0  # without progress, until the stacks are written; 0 = never
    stall_abort_seconds: float = 0.0  # without progress, until the process is killed; 0 = never
    init_from: str = ""  # RUN or RUN@STEP: begin with its parameters, optimizer and data anew
    accept_data: str = ""  # the name of images that changed, to go on with them all the same
    wandb_project: str = ""  # of Weights & Biases; empty = not used

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, low = getattr(self, field.name), int(field.name in AT_LEAST_ONE)
            if not isinstance(value, str) and not low <= value <= MOST:
                bound = f"{low} or more" if value < low else f"{MOST} at most"
                raise errors.UserError(f"train.{field.name} is {value}; expected {bound}")


def check(spec: Spec) -> None:
    """Raises UserError for a package that is missing."""
    sinks.check_wandb(spec.wandb_project)
