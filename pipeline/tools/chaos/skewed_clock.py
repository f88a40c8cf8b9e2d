"""`forebay` with a wall clock that is off: `python -m pipeline.tools.chaos.skewed_clock SECONDS ARGUMENTS`.

Only `time.time` and `time.time_ns` are moved, which is all that Python code here asks; the monotonic clock is right.
"""

import sys
import time


def main() -> None:
    """Move the clock, then run the command."""
    seconds = float(sys.argv.pop(1))
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + round(seconds * 1e9)
    from pipeline.tools.cli.main import main as forebay

    forebay()


if __name__ == "__main__":
    main()
