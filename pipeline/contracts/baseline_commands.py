"""What a person asks of a sensor's baseline: to begin anew, to take what came as usual or as an attack's, to undo that.

A command is a mark in `raw` (raw.py), with the sensor in its headers and the rest as JSON, so it has its place among
the sensor's flows: ingest passes it on with the flows before it, and featurize carries it out after them.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.errors import BadData

RELEARN, ACCEPT, UNDO, ATTACK = "relearn", "accept", "undo", "attack"
ACTIONS = (RELEARN, ACCEPT, UNDO, ATTACK)
MAX_TEXT = 128
MAX_BYTES = 4_096
MAX_NUMBER = 2**31 - 1
MAX_US = 2**62
_FIELDS = {"site": str, "sensor": str, "action": str, "address": str, "service": str, "number": int}
_LATER_FIELDS = {"first_us": int, "last_us": int, "verdict": int}
"""Those that the first commands lack: then they are 0."""
_OF_SENSOR = ("site", "sensor")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineCommand:
    """A command.

    Parameters
    ----------
    address, service
        Of `accept` and `attack`: only what this host does or is done to, only this service, in the words of notices;
        empty: all.
    number
        Of `undo`: the notice that is taken back.
    first_us, last_us
        Of `attack`: the event time in which it came.
    verdict
        Of `attack`: the number of the verdict that says so, by which its bar is found again (verdicts.number_of).
    """

    site: str
    sensor: str
    action: str
    address: str = ""
    service: str = ""
    number: int = 0
    first_us: int = 0
    last_us: int = 0
    verdict: int = 0

    def document(self) -> dict[str, object]:
        """As JSON values; without times and verdict where there are none, as before."""
        later = {name: value for name in _LATER_FIELDS if (value := getattr(self, name))}
        return {name: getattr(self, name) for name in _FIELDS} | later

    def payload(self) -> bytes:
        """The value of its message in `raw`, whose headers name the sensor."""
        return orjson.dumps({name: value for name, value in self.document().items() if name not in _OF_SENSOR})

    @classmethod
    def of(cls, document: object) -> "BaselineCommand":
        """The command in a JSON document; BadData where it is none."""
        whole: dict[str, Any] = dict.fromkeys(_LATER_FIELDS, 0) | document if isinstance(document, dict) else {}
        fields = _FIELDS | _LATER_FIELDS
        if {name: type(value) for name, value in whole.items()} != fields:
            raise BadData(f"command on a baseline: got {str(document)[:MAX_TEXT]}, expected {', '.join(fields)}")
        command = cls(**whole)
        texts = max(len(command.address), len(command.service))
        is_timed = 0 <= command.first_us <= command.last_us <= MAX_US and 0 <= command.verdict <= MAX_US
        if command.action not in ACTIONS or texts > MAX_TEXT or not 0 <= command.number <= MAX_NUMBER or not is_timed:
            raise BadData(
                f"command on a baseline: got {str(document)[:MAX_TEXT]}, expected one of {', '.join(ACTIONS)}, "
                f"texts of at most {MAX_TEXT} characters, a number of 0..{MAX_NUMBER}, two times in their order, and a "
                "verdict's number"
            )
        return command

    @classmethod
    def read(cls, payload: bytes, site: str, sensor: str) -> "BaselineCommand":
        """The command in the value of a message of a sensor; BadData where it is none."""
        try:
            document = orjson.loads(payload) if len(payload) <= MAX_BYTES else None
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise BadData(f"command on a baseline: got {len(payload)} bytes {payload[:40]!r}, expected a JSON object")
        return cls.of({**document, "site": site, "sensor": sensor})
