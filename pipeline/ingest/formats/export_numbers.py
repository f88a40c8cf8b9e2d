"""How exporters number what they send (NetFlow, IPFIX, sFlow), as collectors pass it on with every record.

Nothing here rejects a record: a number that is none costs the number, not the flow.
"""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft
from pipeline.ingest.scan.addresses import MAC, address_column
from pipeline.ingest.scan.text import text_column

COLUMNS = ("export_protocol", "exporter_addr", "export_domain", "export_sequence")
"""Fields of the flow table that say it; the reject table has them too."""
# GoFlow2's names, and the version in the packet's header as pmacct has it (sfacctd: 2, 4 or 5, of sFlow).
_PROTOCOLS = {
    "netflow_v5": "netflow5",
    "netflow_v9": "netflow9",
    "ipfix": "ipfix",
    "sflow_5": "sflow",
    "2": "sflow",
    "4": "sflow",
    "5": "netflow5",
    "9": "netflow9",
    "10": "ipfix",
}
_NAMES, _MEANINGS = pa.array(list(_PROTOCOLS)), pa.array(list(_PROTOCOLS.values()))


def put_numbers(draft: Draft, protocol: str) -> None:
    """Set those of COLUMNS that the draft's records may report; null where a record does not.

    `protocol` is that of all its records where they do not report it.
    """
    if "export_protocol" in draft.column:
        names, _ = text_column(draft.cells, draft.column["export_protocol"])
        draft.columns["export_protocol"] = _MEANINGS.take(pc.index_in(pc.utf8_lower(names), _NAMES))
    elif protocol:
        draft.columns["export_protocol"] = pa.repeat(pa.scalar(protocol), draft.count)
    if "exporter_addr" in draft.column:
        addresses, families, _ = address_column(draft.cells, draft.column["exporter_addr"])
        draft.columns["exporter_addr"] = pc.if_else(pa.array(families != MAC), addresses, None)
    if "domain" in draft.column:
        draft.put("export_domain", *draft.optional_whole("domain", "export_domain"))
    draft.put("export_sequence", *draft.optional_whole("sequence", "export_sequence"))
