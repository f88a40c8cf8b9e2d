"""Python's garbage collector: what it need not look at."""

import gc


def freeze_loaded() -> None:
    """Leave what is loaded by now out of every later collection: it stays, and what is forked shares its memory.

    The collector writes into every object that it looks at.
    """
    gc.collect()
    gc.freeze()
