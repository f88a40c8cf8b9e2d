"""A shadow run as a process: one at a time of a model, at a low priority, from where the last one was."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.retrain.lock import held
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.locks import HOLDER
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.settings import Settings
from pipeline.tools.shadow import state as states
from pipeline.tools.shadow.follower import STAGE, Request, ShadowFollower
from pipeline.tools.shadow.state import FOLDER, Beside, ShadowState


@dataclass(frozen=True)
class Process:
    """How it runs: by which name or folder the model is loaded, its niceness, and whether an earlier run is dropped."""

    model: str
    nice: int
    anew: bool = False


def run(
    settings: Settings, request: Request, beside: Beside, process: Process, notify: Callable[[ShadowState], None]
) -> ShadowState:
    """Count until SIGINT or SIGTERM, or until what was asked for is reached; what was counted by then.

    Failed where another process has this model's shadow, RefusedState where what was saved is damaged or of something
    else, SchemaMismatch where the topic's features are not the model's, KafkaUnreachable where no broker answers.
    """
    from pipeline.score.device import choose_device
    from pipeline.score.model_cache import ModelCache

    busy = f"a shadow of {beside.model} runs already ({HOLDER}); it goes on; --show says what it has seen"
    with held(request.registry, f"{FOLDER}/{beside.model}.lock", busy):
        state = None if process.anew else states.read(request.registry, beside.model)
        if state is None:
            state = ShadowState(beside, time.time_ns() // 1_000)
        state.expect(beside, states.name_of(beside.model))
        be_nice(process.nice)  # before there are threads, which take it over
        with stage_process(STAGE, settings) as (telemetry, kafka):
            folder = folder_or_storage(request.registry, "models")
            cache = ModelCache(process.model, folder, choose_device(settings.device)[0])
            follower = ShadowFollower(settings, telemetry, kafka, cache, request, state, notify)
            kafka.run(follower.session)
        return state


def be_nice(nice: int) -> None:
    """Leave the processors to others, so far; never less than what the process has already."""
    now = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(now, nice))
