"""`forebay alert`: group suspects into alerts; follow, look at and judge them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli import alert_explain, alert_list, alert_suppress, alert_verdict
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Alerts: run; list, show, explain, tail, export; judge, suppress.")


@app.command()
def run(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Run stage 4, alert, until stopped: suspects in, alerts out."""
    from pipeline.alert import worker
    from pipeline.runtime import telemetry

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    telemetry.configure(settings.log_level)
    require_writable(settings, "state_uri")
    worker.run(settings)


app.command(name="list")(alert_list.list_alerts)


@app.command()
def show(uid: alert_verdict.Uid, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show one incident in full: what happened, why it is unusual, who with whom, at each sensor that saw it.

    Any of its alerts' uids names it. With --json: the incident, its alerts as OCSF events, and the verdicts on it.
    """
    from pipeline.contracts.suppression import uids_of
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import lines
    from pipeline.tools.alerts.current import read_current

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    current = read_current(settings)
    incident = current.named(uid)
    document = current.document(incident)
    for part in lines.page(incident, document) if not as_json else ():
        say(part)
    if not as_json:
        alert_list.print_not_read(current.not_read)
        emit({"uid": incident.uid, "alerts": len(incident.alerts), "flows": document["flows"]})
        return
    uids = set(uids_of(document))
    records = [record for record in current.records if uids & {alert["uid"] for alert in record["alerts"]}]
    emit({"incident": document, "alerts": incident.alerts, "verdicts": records, "not_read": current.not_read})


app.command()(alert_explain.explain)


@app.command()
def tail(
    from_start: Annotated[bool, typer.Option("--from-start", help="Also the alerts there are already.")] = False,
    follow: Annotated[bool, typer.Option(help="Wait for further ones.")] = True,
    pages: Annotated[bool, typer.Option("--pages", help="Only incidents that somebody should look at now.")] = False,
    site: alert_list.OneSite = None,
    events: Annotated[
        bool, typer.Option("--events", help="The alerts themselves, every revision, as OCSF events on stdout.")
    ] = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show incidents as they come: a line when one is new, a page, graver, ten times larger, or has ended.

    With --json each such change and its incident, one a line; the last line has the counts.
    """
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.alerts import reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    alerts = reading.alerts(settings, from_start, follow, Stop().listen())
    of_site = (alert for alert in alerts if alert is None or site in (None, alert["unmapped"]["site"]))
    shown = Shown(pages, events, as_json)
    for batch in reading.batches(of_site):
        shown.add(batch, settings)
    emit({"alerts": shown.alerts, "incidents": len(shown.incidents), "pages": len(shown.paged)})


class Shown:
    """What `alert tail` has shown so far, and shows of the next alerts."""

    def __init__(self, pages: bool, events: bool, as_json: bool) -> None:
        from pipeline.tools.alerts.changes import IncidentChanges

        self._pages, self._events, self._as_json = pages, events, as_json
        self._changes = IncidentChanges()
        self.alerts, self.incidents, self.paged = 0, set[str](), set[str]()

    def add(self, batch: list[dict[str, Any]], settings: "Settings") -> None:
        """Show what alerts change."""
        from pipeline.contracts.incident_joining import is_page
        from pipeline.contracts.suppression import Suppressions
        from pipeline.contracts.verdicts import standing
        from pipeline.tools.alerts.current import read_verdicts

        self.alerts += len(batch)
        rules = Suppressions(standing(read_verdicts(settings)[0]))
        for what, document in self._changes.add(batch, rules):
            self.incidents.add(document["uid"])
            if document["page"]:
                self.paged.add(document["uid"])
            if not self._events and document["suppressed"] is None and (document["page"] or not self._pages):
                self._print(what, document)
        for alert in batch if self._events else ():
            if not self._pages or is_page(alert):
                emit(alert)

    def _print(self, what: str, document: dict[str, Any]) -> None:
        from pipeline.tools.alerts import lines

        if self._as_json:
            emit({"change": what, "incident": document})
        else:
            people.print(lines.change_line(what, document), soft_wrap=True)


app.command()(alert_list.export)
app.command()(alert_verdict.verdict)
app.command()(alert_verdict.undo)
app.command()(alert_suppress.suppress)
app.command()(alert_suppress.maintenance)
app.command()(alert_suppress.verdicts)
