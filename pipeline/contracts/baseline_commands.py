"""What a person asks of a sensor's baseline: to begin anew, to take what came as usual, to take that back.

A command is a mark in `raw` (raw.py), with the sensor in its headers and the rest as JSON, so it has its place among
the sensor's flows: ingest passes it on with the flows before it, and featurize carries it out after them.
"""

from dataclasses import dataclass

import orjson

from pipeline.errors import BadData

RELEARN, ACCEPT, UNDO = "relearn", "accept", "undo"
ACTIONS = (RELEARN, ACCEPT, UNDO)
MAX_TEXT = 128
MAX_BYTES = 4_096
MAX_NUMBER = 2**31 - 1
_FIELDS = {"site": str, "sensor": str, "action": str, "address": str, "service": str, "number": int}
_OF_SENSOR = ("site", "sensor")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineCommand:
    """A command.

    Parameters
    ----------
    address, service
        Of `accept`: only what this host does or is done to, only this service, in the words of notices; empty: all.
    number
        Of `undo`: the notice that is taken back.
    """

    site: str
    sensor: str
    action: str
    address: str = ""
    service: str = ""
    number: int = 0

    def document(self) -> dict[str, object]:
        """As JSON values."""
        return {name: getattr(self, name) for name in _FIELDS}

    def payload(self) -> bytes:
        """The value of its message in `raw`, whose headers name the sensor."""
        return orjson.dumps({name: value for name, value in self.document().items() if name not in _OF_SENSOR})

    @classmethod
    def of(cls, document: object) -> "BaselineCommand":
        """The command in a JSON document; BadData where it is none."""
        if not isinstance(document, dict) or {name: type(value) for name, value in document.items()} != _FIELDS:
            raise BadData(f"command on a baseline: got {str(document)[:MAX_TEXT]}, expected {', '.join(_FIELDS)}")
        command = cls(**document)
        texts = max(len(command.address), len(command.service))
        if command.action not in ACTIONS or texts > MAX_TEXT or not 0 <= command.number <= MAX_NUMBER:
            raise BadData(
                f"command on a baseline: got {str(document)[:MAX_TEXT]}, expected one of {', '.join(ACTIONS)}, "
                f"texts of at most {MAX_TEXT} characters, and a number of 0..{MAX_NUMBER}"
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
