"""Logs of Zeek and icsnpp in which a record is an operation, or a message, of an industrial protocol.

All of them begin alike: `ts`, `uid` and the connection's `id` (Zeek: base/frameworks/logging, conn_id).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats.ics import put_identity
from pipeline.ingest.formats.protocols import TCP
from pipeline.ingest.formats.zeek import ID, json_paths
from pipeline.ingest.scan.cells import BARE, FALSE, STRING, Cells

BASE = ("ts", "uid", *ID, "_path")
REQUIRED = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")


@dataclass(frozen=True, slots=True)
class Log:
    """One log: `name` is its `#path`, `fields` the columns that are read besides those of BASE.

    A header without the columns `required` is not this log's. `says` sets what the records say of operations. Zeek
    does not write the transport: `ip_proto` is the usual one.
    """

    name: str
    ics_proto: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    says: Callable[[Draft], None]
    ip_proto: int = TCP

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*BASE, *self.fields)

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns without which a header is not this log's."""
        return (*REQUIRED, *self.required)

    @property
    def paths(self) -> dict[tuple[str, ...], int]:
        """Where each column may stand in a JSON record."""
        return json_paths(self.columns, self.name)

    def normalise(self, cells: Cells) -> Draft:
        """Rows of the kind `ics`, one a record."""
        draft = Draft(cells, self.columns)
        path = draft.text("_path", "_path")
        other = pc.not_equal(path, self.name).fill_null(False).to_numpy(zero_copy_only=False)
        draft.reject(other, "other_log", "_path", "_path", f"a record of the log {self.name}")
        ip_proto = np.full(draft.count, self.ip_proto)
        put_identity(draft, "ts", ID, "uid", ip_proto, self.ics_proto)
        self.says(draft)
        return draft


def is_word(draft: Draft, source: str, *words: str) -> Mask:
    """Which rows have one of `words`, in any case, in a column."""
    matches = pc.is_in(pc.utf8_lower(draft.text(source, source)), pa.array(words, pa.string()))
    chosen: Mask = matches.to_numpy(zero_copy_only=False)
    return chosen


def is_other_word(draft: Draft, source: str, *words: str) -> Mask:
    """Which rows have something else than one of `words` in a column; nothing is not something else."""
    return draft.has(source) & ~is_word(draft, source, *words)


def by_responder(draft: Draft) -> Mask:
    """Which rows say in `is_orig` that the responder spoke; older versions of icsnpp do not say."""
    text, starts, ends, kinds = draft.where("is_orig")
    is_letter = np.isin(kinds, (BARE, STRING)) & (ends - starts == 1)
    letters = text[np.where(is_letter, starts, 0)] if len(text) else np.zeros(draft.count, np.uint8)
    responds: Mask = (kinds == FALSE) | (is_letter & (letters == ord("F")))
    return responds
