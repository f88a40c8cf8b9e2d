"""`forebay output parked` and `resend`: what receivers refused for good, and sending it again."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.output_options import Outputs, chosen_outputs
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.tools.outputs.parked import Parked
    from pipeline.tools.outputs.resending import Choice

SHOWN_UID = 12


def parked(
    name: Annotated[str | None, typer.Argument(help="The output's name; all of them by default.")] = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List alerts that receivers refused for good: of which output, why, since when; `output resend` sends them again.

    Example: forebay output parked soc
    """
    from pipeline.contracts.notice_words import moment

    listed, malformed = _read(settings_here(bootstrap=bootstrap, topic_prefix=prefix))
    listed = [each for each in listed if name in (None, each.output)]
    columns = ["output", "uid", "revision", "refused (UTC)", "times", "alert", "answer"]
    rows = [
        [
            *(each.output, each.revision.uid[:SHOWN_UID], each.revision.number, moment(each.first_us)[:19]),
            *(each.refusals, each.revision.title, each.reason),
        ]
        for each in listed
    ]
    if listed:
        say(table(columns, rows), as_json)
    say(f"{len(listed):,} parked; `forebay output resend` sends them again" if listed else "nothing is parked", as_json)
    _say_malformed(malformed, as_json)
    documents = [_document(each) for each in listed]
    emit({"parked": documents if as_json else len(documents), "malformed": malformed})


def resend(
    uid: Annotated[
        list[str] | None, typer.Argument(help="Of incidents or alerts, or their beginnings; all by default.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Only to the output of this name.")] = None,
    outputs: Outputs = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Send parked alerts again, each at least once under the key of its first sending; exits 1 where one was not taken.

    It says what it will do, and does it. What a receiver takes is parked no longer; a kill at any moment loses nothing.
    What a verdict has suppressed since is sent where its uid is named.

    Example: forebay output resend --to soc
    """
    from pipeline.contracts.suppression import Suppressions
    from pipeline.contracts.verdicts import standing
    from pipeline.runtime import failpoints
    from pipeline.tools.alerts.verdicts import verdicts
    from pipeline.tools.outputs import resending
    from pipeline.tools.outputs.parked import ParkedTopic

    settings = settings_here(outputs=outputs, bootstrap=bootstrap, topic_prefix=prefix)
    failpoints.arm(settings.failpoint)
    receivers = chosen_outputs(settings, to)
    listed, malformed = _read(settings)
    rules = Suppressions(standing(verdicts(settings)[0] if listed else []))
    choice = resending.chosen(listed, receivers, uid or (), to, rules)
    _say_choice(choice, as_json)
    _say_malformed(malformed, as_json)
    parking, done = ParkedTopic(settings), []
    for output, each in choice.sent:
        result = resending.resend(output, each, parking, lambda: time.time_ns() // 1000)
        done.append(result)
        counts = f"{result.delivered:,} delivered, {result.refused:,} refused again, {result.left:,} not tried"
        say(f"{result.name}: {counts}: {printable(result.answer)}", as_json)
    emit(
        {
            "outputs": [
                {name: getattr(each, name) for name in ("name", "delivered", "refused", "left", "answer")}
                for each in done
            ],
            "delivered": sum(each.delivered for each in done),
            "suppressed": len(choice.suppressed),
            "without_receiver": len(choice.without_receiver),
            "malformed": malformed,
        }
    )
    if any(each.refused or each.left for each in done):
        raise typer.Exit(1)


def count_parked(settings: "Settings") -> dict[str, int]:
    """How many alerts of each output are parked; empty where the topic cannot be read."""
    from collections import Counter

    from pipeline.tools.outputs.parked import read_all

    try:
        return Counter(each.output for each in read_all(settings)[0])
    except Failed:
        return {}


def _read(settings: "Settings") -> "tuple[list[Parked], int]":
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.outputs.parked import read_all

    require_broker(settings)
    return read_all(settings)


def _say_choice(choice: "Choice", quiet: bool) -> None:
    """What will be done, before it is done."""
    from pipeline.contracts.notice_words import counted
    from schemas.outputs import destination_of

    def alerts(of: "Sequence[Parked]") -> str:
        return counted(len(of), "alert", "alerts")

    for output, each in choice.sent:
        incidents = counted(len({parked.revision.uid for parked in each}), "incident", "incidents")
        says = f"{output.name}: {alerts(each)} of {incidents} will be sent again to {destination_of(output)}"
        say(f"{says}, oldest first, under the keys of the first sending", quiet)
    if choice.suppressed:
        named = ", ".join(dict.fromkeys(each.revision.uid[:SHOWN_UID] for each in choice.suppressed[:5]))
        says = f"{alerts(choice.suppressed)} stay parked, as a verdict suppresses them"
        say(f"{says}; name a uid to send it all the same: {named}", quiet)
    if choice.without_receiver:
        names = ", ".join(sorted({each.output for each in choice.without_receiver}))
        says = f"{alerts(choice.without_receiver)} stay parked, as no output of the name has a receiver"
        say(f"{says}: {printable(names, 200)}", quiet)
    if not choice.sent:
        say("nothing is sent again", quiet)


def _say_malformed(count: int, quiet: bool) -> None:
    if count:
        say(f"{count:,} records of topic parked are malformed and left out", quiet)


def _document(parked: "Parked") -> dict[str, Any]:
    revision = parked.revision
    return {
        "output": parked.output,
        "key": revision.key,
        "uid": revision.uid,
        "revision": revision.number,
        "title": revision.title,
        "says": revision.says,
        "reason": parked.reason,
        "refusals": parked.refusals,
        "first_us": parked.first_us,
        "last_us": parked.last_us,
    }
