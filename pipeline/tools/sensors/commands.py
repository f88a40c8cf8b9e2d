"""Commands on a sensor's baseline: what is meant, said before it is done, and sent. Pure but for `send`."""

import ipaddress
import re

from pipeline.alert.endpoints import is_mac
from pipeline.alert.wording import duration
from pipeline.contracts.baseline_commands import ACCEPT, ATTACK, MAX_TEXT, RELEARN, UNDO, BaselineCommand
from pipeline.contracts.notice_words import counted, headline, moment
from pipeline.contracts.notices import ACCEPTED, RELEARNT, UNDOABLE, UNDONE, Notice
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.contracts.public_addresses import is_public
from pipeline.contracts.raw import BASELINE_COMMAND, SourceInfo
from pipeline.errors import Usage
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS
from pipeline.runtime.kafka import sending
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.sensors.histories import SensorHistory
from schemas.learning import Learning

PUBLIC = "public"
ANSWERS = {RELEARN: RELEARNT, ACCEPT: ACCEPTED, UNDO: UNDONE, ATTACK: CALLED_ATTACK}
"""The kind of notice that says that a command was carried out."""
_SERVICE = re.compile(rf"[A-Za-z0-9][ -~]{{0,{MAX_TEXT - 1}}}")


def address_meant(text: str | None) -> str:
    """An address as notices write it, from what was typed; Usage where it is none."""
    if text is None:
        return ""
    if text == PUBLIC:
        return OUTSIDE_WORDS
    if is_mac(text):
        return text.lower()
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        raise Usage(
            f"--address: got {printable(text, 80)!r}, expected an address of IPv4 or IPv6, a hardware address with "
            f"colons, or {PUBLIC} for all public ones"
        ) from None
    if is_public(address):
        raise Usage(f"--address: got {address}, a public address, and all of those count as one; say {PUBLIC}")
    return address


def service_meant(text: str | None) -> str:
    """A service as notices write it, from what was typed; Usage where it is none."""
    if text is None:
        return ""
    if text.isdigit() or not _SERVICE.fullmatch(text):
        raise Usage(
            f"--service: got {printable(text, 80)!r}, expected a service as `forebay sensor show` writes it: 502/tcp, "
            "icmp, arp"
        )
    return text


def undoable(history: SensorHistory) -> list[Notice]:
    """The notices of a sensor, since it began anew, that made something usual or barred it, and are not undone."""
    notices = history.since_forgotten
    began = max((at for at, each in enumerate(notices) if each.kind == RELEARNT), default=-1)
    undone = {each.figures.get("undone") for each in notices[began + 1 :] if each.kind == UNDONE}
    return [each for each in notices[began + 1 :] if each.kind in UNDOABLE and each.number not in undone]


def require_undoable(history: SensorHistory, number: int) -> Notice:
    """The notice of this number; Usage where it made nothing usual, or the sensor began anew since."""
    made = undoable(history)
    for notice in made:
        if notice.number == number:
            return notice
    known = ", ".join(f"#{each.number}" for each in made) or "none"
    raise Usage(
        f"sensor undo {number}: got no notice of that number that can be undone, expected one of: {known}; "
        "`forebay sensor show` lists them"
    )


def intention(history: SensorHistory, command: BaselineCommand, learning: Learning) -> str:
    """What a command will do, to be said before it is done."""
    where, figures = "/".join(history.name), history.last.notice.figures
    if command.action == RELEARN:
        return (
            f"{where} forgets what is usual there ({counted(figures['usual_kinds'], 'kind', 'kinds')} of flow, "
            f"{counted(figures['usual_relations'], 'relation', 'relations')}) and learns anew from its next flow on: "
            f"nothing is shown for {duration(1e6 * learning.least_s)} at least; this cannot be undone"
        )
    if command.action == ACCEPT:
        whose = f" that {command.address} did or that was done to it" if command.address else ""
        how = f" by {command.service}" if command.service else ""
        return (
            f"all{whose}{how} that came at {where} so far and is not usual becomes usual, what an attacker did too; "
            "`forebay sensor undo` takes it back"
        )
    if command.action == ATTACK:
        return (
            f"what {command.address} did anew at {where}, or was done to it, from {moment(command.first_us)} to "
            f"{moment(command.last_us)} never becomes usual by coming back, and is not usual any more where it became "
            "so; what was usual before stays; `forebay sensor undo` takes it back"
        )
    notice = require_undoable(history, command.number)
    if notice.kind == CALLED_ATTACK:
        return f"{where}: {headline(notice)}: this can become usual again by coming back"
    return (
        f"{where}: {headline(notice)}: this is not usual any more, it is shown when it comes, and becomes usual only "
        f"after it has come back for {duration(1e6 * learning.admit_s)}"
    )


def send(settings: Settings, history: SensorHistory, command: BaselineCommand) -> None:
    """Send a command to where the sensor's flows lie in `raw`, and wait until the broker acknowledges it."""
    mark = SourceInfo(BASELINE_COMMAND, site=command.site, sensor=command.sensor)
    # Every hop keeps the partition's number: the sensor's notices are in that of its flows, whatever its key hashes to.
    sending.send(
        settings, "command", settings.topics.raw, mark.key, command.payload(), mark.headers, history.last.partition
    )


def is_answer(notice: Notice, history: SensorHistory, command: BaselineCommand) -> bool:
    """Whether a notice says that the command was carried out."""
    number = max((each.number for each in history.since_forgotten), default=0)
    is_later = notice.number > max(number, history.last.notice.number)
    return (notice.site, notice.sensor) == history.name and notice.kind == ANSWERS[command.action] and is_later
