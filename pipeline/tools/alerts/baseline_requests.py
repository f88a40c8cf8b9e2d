"""What a verdict asks of its sensors' baselines, by what is known of them, and in words."""

from collections.abc import Iterable

from pipeline.contracts.baseline_commands import BaselineCommand
from pipeline.contracts.incident_joining import JoinedIncident
from pipeline.contracts.verdicts import TRUE_POSITIVE, Record, number_of, standing
from pipeline.errors import Failed, Usage
from pipeline.settings import Settings
from pipeline.tools.alerts.attacks import attack_commands, lifting_commands, sensors_of
from pipeline.tools.sensors.commands import intention
from pipeline.tools.sensors.histories import SensorHistory, histories
from pipeline.tools.sensors.reading import NoticesReader

Asked = list[tuple[SensorHistory, BaselineCommand]]


def overruled_by(record: Record, records: Iterable[Record]) -> list[Record]:
    """The verdicts that do not hold any more once this one is given."""
    stands = standing(records)
    if record["undoes"] is not None:
        return [stands.given[record["undoes"]]]
    newest = {each["id"]: each for uid in record["uids"] if (each := stands.newest.get(uid)) is not None}
    return list(newest.values())


def asked_of_baselines(
    settings: Settings, record: Record, overruled: Iterable[Record], incident: JoinedIncident | None
) -> tuple[Asked, list[str]]:
    """What a verdict asks of the baselines of its sensors, and in words; no broker's answer stops a verdict.

    An attack's doing must not become usual. Where a verdict of attack is undone or overruled, it can again.
    """
    attacks = [each for each in overruled if each["verdict_id"] == TRUE_POSITIVE and each["id"] != record["id"]]
    is_attack = record["verdict_id"] == TRUE_POSITIVE and incident is not None
    if not is_attack and not attacks:
        return [], []
    try:
        reader = NoticesReader(settings)
        try:
            known = histories(reader.stored())
        finally:
            reader.close()
    except Failed as error:
        return [], [f"its sensor's baseline is not asked for anything: {error}"]
    asked: Asked = []
    says = []
    for command in attack_commands(incident.alerts, number_of(record)) if is_attack and incident is not None else ():
        history = known.get((command.site, command.sensor))
        if history is None:
            says.append(f"{command.site}/{command.sensor} has no baseline that could be asked for anything")
        else:
            asked.append((history, command))
    for attack in attacks:
        for sensor in sensors_of(attack):
            if (history := known.get(sensor)) is not None:
                asked += [(history, command) for command in lifting_commands(attack, history)]
    return asked, [*dict.fromkeys(says), *_intentions(settings, asked)]


def _intentions(settings: Settings, asked: Asked) -> list[str]:
    says = []
    for history, command in asked:
        try:
            says.append(intention(history, command, settings.learning_of(history.name[0])))
        except Usage as error:
            says.append(str(error))
    return says
