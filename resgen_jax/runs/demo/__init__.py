"""The demo: both stages, samples of them, what a judge says, and a report."""
