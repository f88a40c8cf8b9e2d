"""`forebay alert`: group suspects into alerts; follow, look at and judge them."""

from typing import Annotated

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli import alert_explain, alert_verdict
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here

app = typer.Typer(no_args_is_help=True, help="Alerts: run, tail, show, verdict.")


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
    pages: Annotated[bool, typer.Option("--pages", help="Only those that somebody should look at now.")] = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show alerts as they come, a line each; with --json the events themselves, one a line, and counts as the last."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    read, incidents, paged = 0, set(), set()
    for alert in reading.alerts(settings, from_start, follow, Stop().listen()):
        if alert is None:
            continue
        read += 1
        incidents.add(alert["finding_info"]["uid"])
        if lines.is_page(alert):
            paged.add(alert["finding_info"]["uid"])
        elif pages:
            continue
        if as_json:
            emit(alert)
        else:
            people.print(lines.line(alert), soft_wrap=True)
    emit({"alerts": read, "incidents": len(incidents), "pages": len(paged)})


@app.command()
def show(uid: alert_verdict.Uid, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show one alert in full: what happened, why it is unusual, who with whom."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    alert = reading.latest(settings, uid)
    for part in lines.page(alert):
        say(part, quiet=as_json)
    emit(alert)


app.command()(alert_explain.explain)
app.command()(alert_verdict.verdict)
