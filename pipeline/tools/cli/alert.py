"""`forebay alert`: group suspects into alerts; follow, look at and judge them."""

from typing import Annotated

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here

app = typer.Typer(no_args_is_help=True, help="Alerts: run, tail, show, verdict.")

Uid = Annotated[str, typer.Argument(help="The alert's uid, or its first characters.", metavar="UID")]


@app.command()
def run(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Run stage 4, alert, until stopped: suspects in, alerts out."""
    from pipeline.alert import worker
    from pipeline.runtime import telemetry

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    telemetry.configure(settings.log_level)
    require_writable(settings, "state_uri")
    worker.run(settings)


@app.command()
def tail(
    from_start: Annotated[bool, typer.Option("--from-start", help="Also the alerts there are already.")] = False,
    follow: Annotated[bool, typer.Option(help="Wait for further ones.")] = True,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show alerts as they come, a line each; with --json the events themselves, one a line, and a count as the last."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    read, incidents = 0, set()
    for alert in reading.alerts(settings, from_start, follow, Stop().listen()):
        if alert is None:
            continue
        read += 1
        incidents.add(alert["finding_info"]["uid"])
        if as_json:
            emit(alert)
        else:
            people.print(lines.line(alert), soft_wrap=True)
    emit({"alerts": read, "incidents": len(incidents)})


@app.command()
def show(uid: Uid, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show one alert in full: what happened, why it is unusual, who with whom."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    alert = reading.latest(settings, uid)
    for part in lines.page(alert):
        say(part, quiet=as_json)
    emit(alert)


@app.command()
def verdict(
    uid: Uid,
    verdict: Annotated[str, typer.Option(help="tp, fp, benign, test or duplicate.")],
    by: Annotated[str, typer.Option(help="Who judged.", metavar="NAME")],
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Judge an alert; the verdict goes to the topic `feedback`, where retraining finds it."""
    import time

    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import reading, verdicts

    verdicts.require_verdict(verdict, by, note)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    record = verdicts.verdict_of(reading.latest(settings, uid), verdict, by, time.time_ns() // 1000, note)
    verdicts.send(settings, record)
    say(f"{record['uid'][:12]}: {record['verdict']}, {len(record['members'])} flows", quiet=as_json)
    emit(record)
