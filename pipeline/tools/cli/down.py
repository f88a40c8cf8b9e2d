"""`forebay down`: end what `forebay up` runs."""

import time

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Json, emit, say
from pipeline.tools.cli.up import RunFolder

app = typer.Typer(add_completion=False)


@app.command()
def down(folder: RunFolder = None, as_json: Json = False) -> None:
    """End the workers that `forebay up` runs, and Kafka if it started it; fine if nothing runs. Data stays.

    Also ends what a supervisor that was killed has left. A process that is not the system's own is left alone.
    """
    from pipeline.tools.system import control

    chosen = load_settings(run_folder=folder).run_folder.absolute()
    started_s = time.monotonic()
    ended = control.stop(chosen)
    took_s = round(time.monotonic() - started_s, 1)
    if ended is None:
        say(f"no system runs in {chosen}", quiet=as_json)
        for other in control.elsewhere():
            say(f"one runs in {other}: forebay down --folder {other}", quiet=as_json)
    elif ended.supervisor:
        say(f"stopped in {took_s} s; what was stored stays", quiet=as_json)
    else:
        left = ", ".join((*ended.workers, *(["Kafka"] if ended.broker else []))) or "nothing"
        say(f"the supervisor had been killed; still running, and now stopped: {left}", quiet=as_json)
    emit(
        {
            "stopped": ended is not None,
            "folder": str(chosen),
            "supervisor": ended.supervisor if ended else False,
            "left_by_killed_supervisor": list(ended.workers) if ended else [],
            "elsewhere": [str(other) for other in control.elsewhere()] if ended is None else [],
            "elapsed_s": took_s,
        }
    )
