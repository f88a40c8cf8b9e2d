"""Messages of other tools into messages of `raw`: pure, a batch at a time."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.contracts.lateness import of_live_source
from pipeline.contracts.raw import CONTENT_TYPES, DELIMITED, tabbed
from pipeline.ingest.formats.marks import KINDS, NETFLOW_EVENT, OTHER_LOG, WRAPPED
from pipeline.ingest.intake.origins import Envelope, fields_of, names_of
from pipeline.ingest.intake.pack import RawPack, packs
from pipeline.ingest.intake.records import Level, delimited, innermost, levels_of
from pipeline.ingest.recognise import MarkTable
from pipeline.ingest.scan.cells import Ints
from schemas.intake import Origin, TopicSource

AUTO = "auto"
_OTHER_LOGS = (KINDS.index(OTHER_LOG), KINDS.index(NETFLOW_EVENT))
# Of what ingest does not know, a message is one record (contracts/raw.py: Framing.WHOLE).
_ALONE: Ints = np.array([kind not in CONTENT_TYPES for kind in KINDS]).astype(np.int64)


class Converted(NamedTuple):
    """What a batch became: messages for `raw`, and how many records of other logs were left out, by log."""

    packs: list[RawPack]
    records: int
    other_logs: Counter[str]


class Converter:
    """Converts messages of one source."""

    def __init__(self, source: TopicSource) -> None:
        self.source = source
        self._origins = (source.site, source.sensor)
        self._table = MarkTable.of(fields_of(self._origins))
        self.needs_envelopes = any(isinstance(origin, Origin) and origin.field is None for origin in self._origins)

    def convert(self, payloads: Sequence[bytes], envelopes: Sequence[Envelope]) -> Converted:
        """M messages; `envelopes` (m,) may be empty where `needs_envelopes` is False. Nothing in a message raises."""
        form = self.source.format
        if form in DELIMITED:
            levels = [delimited(payloads, tabbed(form), self._table)]
            levels[0].recognised.kind[:] = KINDS.index(form)
        else:
            levels = levels_of(payloads, self._table)
            if form != AUTO:
                _settle(levels, KINDS.index(form))
        records = innermost(levels)
        sites, sensors = (names_of(origin, levels, records, envelopes, self._table) for origin in self._origins)
        wanted = np.flatnonzero(~np.isin(records.kind, _OTHER_LOGS))
        others = sum((level.recognised.other_logs() for level in levels), Counter[str]())
        columns, zone, own_us = self.source.columns, self.source.time_zone, self.source.lateness_us
        made = [
            pack._replace(columns=columns, time_zone=zone, lateness_us=of_live_source(own_us, pack.content_type))
            for pack in packs(records, wanted, sites, sensors, _ALONE)
        ]
        return Converted(made, len(records), others)


def _settle(levels: Sequence[Level], kind: int) -> None:
    """The settings say what the records are: only wrappers are looked for."""
    wrapped = KINDS.index(WRAPPED)
    for level in levels:
        numbers = level.recognised.kind
        numbers[numbers != wrapped] = kind
