"""Runs a plan's fits, one process a core, each fit stored as it finishes."""

import multiprocessing
import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from models.lab.protocols.fit import Unit
from models.lab.protocols.plan import Plan
from models.lab.protocols.store import Store


def one_thread() -> None:
    """Make this process compute on one thread: processes share the cores, and sums come out the same."""
    import torch  # before lightgbm: it brings an OpenMP library where the system has none
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def run_fit(plan: Plan, unit: Unit, store: Store, about: dict[str, Any]) -> float:
    """Do one fit and store it; return the seconds it took."""
    start = time.perf_counter()
    store.write(unit.key, {**plan.document(unit), "about": about})
    return time.perf_counter() - start


def run(
    plan: Plan,
    store: Store,
    jobs: int,
    about: dict[str, Any],
    progress: Callable[[int, int, str, float], None],
) -> list[str]:
    """Do every fit the store does not have.

    Parameters
    ----------
    jobs : worker processes
    about : machine, versions and data, stored with every fit
    progress : called with (done, of, what, seconds) after every fit

    Returns the failures, one line each. A KeyboardInterrupt stops the workers; finished fits stay stored.
    """
    units = plan.units()
    open_units = [unit for unit in units if not store.has(unit.key)]
    done, failures = len(units) - len(open_units), list[str]()
    # spawn: a forked process would inherit half-started thread pools.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), one_thread)
    waiting: dict[Future[float], Unit] = {}
    remaining = iter(open_units)
    try:
        while True:
            for unit in remaining:
                waiting[pool.submit(run_fit, plan, unit, store, about)] = unit
                if len(waiting) > jobs:
                    break
            if not waiting:
                return failures
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                unit = waiting.pop(future)
                done += 1
                what = f"{unit.family.name} {unit.split} seed {unit.seed}"
                error = future.exception()
                if error is not None:
                    failures.append(f"{what}: {''.join(traceback.format_exception_only(error)).strip()}")
                progress(
                    done, len(units), what if error is None else f"{what} FAILED", 0.0 if error else future.result()
                )
    finally:
        for process in list((pool._processes or {}).values()):
            if waiting:
                process.terminate()
        pool.shutdown(wait=not waiting, cancel_futures=True)
