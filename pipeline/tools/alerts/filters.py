"""Which incidents a list shows, in which order: documents (incidents.py) in, documents out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.alert.ocsf import SEVERITY_CAPTION
from pipeline.contracts.notices import LONE
from pipeline.errors import Usage
from pipeline.runtime.terminal import printable
from pipeline.tools.alerts.incidents import ENDED, NOTICE, OPEN, Document

PAGE, REVIEW, SETTLED, SUPPRESSED = "page", "review", "settled", "suppressed"
KINDS = (PAGE, REVIEW, SUPPRESSED, SETTLED, NOTICE, LONE)
STATES = (OPEN, ENDED)
SORTS = ("last_us", "first_us", "opened_us", "severity", "flows")
SEVERITIES = {caption.lower(): number for number, caption in SEVERITY_CAPTION.items()}
SHOWN = 60


def kind_of(document: Document) -> str:
    """The one part of a list that an incident stands in: judged first, then suppressed, then page or for review.

    Suspects that are in no incident stand beside those for review: they are LONE.
    """
    if document["kind"] == NOTICE:
        return LONE if document.get("notice") == LONE else NOTICE
    if document["settled"]:
        return SETTLED
    if document["suppressed"] is not None:
        return SUPPRESSED
    return PAGE if document["page"] else REVIEW


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; None: whatever it is.

    severity_id: so grave at least. technique: its uid, or that of the technique it is a part of. asset: an address, or
    what the plant calls it. since_us, until_us: event time; what went on between them.
    """

    site: str | None = None
    sensor: str | None = None
    severity_id: int | None = None
    state: str | None = None
    technique: str | None = None
    asset: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    def takes(self, document: Document) -> bool:
        """Whether an incident is one of those."""
        return (
            self.site in (None, document["site"])
            and (self.sensor is None or self.sensor in document["sensors"])
            and (self.severity_id is None or document["severity_id"] >= self.severity_id)
            and self.state in (None, document["state"])
            and (self.technique is None or _has_technique(document, self.technique))
            and (self.asset is None or _is_about(document, self.asset))
            and (self.since_us is None or document["last_us"] >= self.since_us)
            and (self.until_us is None or document["first_us"] < self.until_us)
        )


def filter_of(
    site: str | None,
    sensor: str | None,
    severity: str | None,
    state: str | None,
    technique: str | None,
    asset: str | None,
    since_us: int | None,
    until_us: int | None,
) -> Filter:
    """The filter that options ask for; Usage where one cannot be meant."""
    if severity is not None and severity.lower() not in SEVERITIES:
        raise Usage(f"--severity: got {_shown(severity)}, expected one of {', '.join(SEVERITIES)}")
    if state is not None and state not in STATES:
        raise Usage(f"--state: got {_shown(state)}, expected {' or '.join(STATES)}")
    severity_id = None if severity is None else SEVERITIES[severity.lower()]
    return Filter(site, sensor, severity_id, state, technique, asset, since_us, until_us)


def ordered(documents: Iterable[Document], sort: str) -> list[Document]:
    """In the order of a field, with `-` before it the highest first; equal ones by uid. Usage where there is none."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        expected = f"one of {', '.join(SORTS)}, with - before it for the highest first"
        raise Usage(f"--sort: got {_shown(sort)}, expected {expected}")
    field, sign = "severity_id" if name == "severity" else name, -1 if sort.startswith("-") else 1
    return sorted(documents, key=lambda each: (sign * each[field], sign * each["last_us"], each["uid"]))


def _has_technique(document: Document, wanted: str) -> bool:
    uids = [each["uid"].lower() for each in document["techniques"]]
    return any(uid == wanted.lower() or uid.startswith(f"{wanted.lower()}.") for uid in uids)


def _is_about(document: Document, wanted: str) -> bool:
    called = [
        document["sources"],
        document["targets"],
        *([each["address"], each["name"]] for each in document["assets"]),
    ]
    return any(name is not None and name.lower() == wanted.lower() for names in called for name in names)


def _shown(text: str) -> str:
    return f"'{printable(text, SHOWN)}'"
