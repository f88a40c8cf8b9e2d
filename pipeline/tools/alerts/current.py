"""The incidents as they are now: the latest revision of every alert, joined, with verdicts and the devices' names."""

from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import KafkaException

from pipeline.contracts.incident_joining import JoinedIncident, joined
from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import Record, standing
from pipeline.errors import Failed
from pipeline.settings import Settings
from pipeline.tools.alerts.incidents import Document, document, named
from pipeline.tools.alerts.reading import current_alerts
from pipeline.tools.alerts.verdicts import verdicts
from pipeline.tools.assets.current import devices_of
from pipeline.tools.assets.known_devices import KnownDevices


@dataclass(frozen=True)
class CurrentIncidents:
    """Incidents by (opened_us, uid), verdicts, devices by site and address, and in sentences what was not read."""

    incidents: list[JoinedIncident]
    records: list[Record]
    devices: KnownDevices
    not_read: list[str]

    @cached_property
    def rules(self) -> Suppressions:
        """What the verdicts say of incidents."""
        return Suppressions(standing(self.records))

    def document(self, incident: JoinedIncident) -> Document:
        """An incident in the form of lists and exports."""
        return document(incident, self.rules, self.devices)

    def documents(self) -> list[Document]:
        """All of them."""
        return [self.document(incident) for incident in self.incidents]

    def named(self, uid: str) -> JoinedIncident:
        """The one that a uid, or its beginning, names; Usage where none or several are."""
        return named(self.incidents, uid)


def read_current(settings: Settings) -> CurrentIncidents:
    """All incidents there are; Failed without a topic of alerts. Verdicts or names that cannot be read are said."""
    alerts = current_alerts(settings)
    records, problems = read_verdicts(settings)
    devices, not_named = devices_of(settings, read_archive=False)
    return CurrentIncidents(joined(alerts), records, devices, [*problems, *not_named])


def read_verdicts(settings: Settings) -> tuple[list[Record], list[str]]:
    """The verdicts, and why some are not known."""
    try:
        records, malformed = verdicts(settings)
    except (Failed, KafkaException) as error:
        return [], [f"verdicts: {error}"]
    return records, [f"verdicts: {malformed:,} records are malformed and left out"] if malformed else []
