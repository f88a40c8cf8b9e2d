"""Load against a system: a run with its report, the highest rate it holds, what a plant needs."""
