"""Lines of `nfdump -o csv` as flows: the long header up to 1.7.4, the short one since 1.7.5.

phaag/nfdump: output_csv.c. What comes at the end of the long form (`Summary` and two lines) is no record:
`source_file` leaves it out.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.compiled import compiled
from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats import exporter
from pipeline.ingest.scan.cells import ABSENT, BARE, Bytes, Cells
from pipeline.ingest.scan.scalars import UNPADDED
from pipeline.ingest.scan.text import text_column

LAYOUT = exporter.layout(
    {
        "start": ("ts|firstSeen",),
        "duration": ("td|duration",),
        "src_mac": ("ismc|inSrcMac",),
        "dst_mac": ("idmc|inDstMac", "odmc|outDstMac"),
        "src_ip": ("sa|srcAddr",),
        "dst_ip": ("da|dstAddr",),
        "proto": ("pr|proto",),
        "src_port": ("sp|srcPort",),
        "dst_port": ("dp|dstPort",),
        "icmp_type": ("icmpType",),
        "icmp_code": ("icmpCode",),
        "flags": ("flg|flags",),
        "fwd_bytes": ("ibyt|byt|bytes|inBytes",),
        "rev_bytes": ("obyt|outBytes",),
        "fwd_pkts": ("ipkt|pkt|packets|inPackets",),
        "rev_pkts": ("opkt|outPackets",),
        "vlan": ("svln|srcVlan", "dvln|dstVlan"),
        "received": ("tr|received",),
    },
    power=UNPADDED,
)
SPELLINGS = {path[0].lower(): LAYOUT.columns[column] for path, column in LAYOUT.paths.items()}
# Other points in time, which are moved with the start.
SPELLINGS |= {"te": "te", "lastseen": "te"}
TIMES = (SPELLINGS["ts"], "te", SPELLINGS["tr"])
_NEEDED = ("ts", "td", "sa", "da", "pr", "ibyt", "ipkt")
# A header without these is not nfdump's.
REQUIRED = tuple(LAYOUT.columns[LAYOUT.paths[(name,)]] for name in _NEEDED)
_ICMP = pa.array(["icmp", "icmp6", "ipv6-icmp", "icmpv6", "1", "58"])


def normalise(cells: Cells) -> Draft:
    """Flows of nfdump's lines. The long form has times in whole seconds: the end is the start and the duration."""
    index_of = {name: index for index, name in enumerate(LAYOUT.columns)}
    names, _ = text_column(cells, index_of["proto"])
    icmp: Mask = pc.is_in(pc.utf8_lower(names), _ICMP).to_numpy(zero_copy_only=False)
    if icmp.any():
        _split_at_dot(cells, icmp, index_of["dst_port"], index_of["icmp_type"], index_of["icmp_code"])
    return exporter.normalise(cells, LAYOUT)


def _split_at_dot(cells: Cells, rows: Mask, port: int, kind: int, code: int) -> None:
    """Move what ICMP has instead of a port, `8.0`, to the cells of type and code."""
    _split(cells.text, cells.starts, cells.ends, cells.kinds, rows, port, kind, code)


@compiled
def _split(
    text: Bytes,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.uint8],
    rows: Mask,
    port: int,
    kind: int,
    code: int,
) -> None:
    for row in range(len(rows)):
        first, last = starts[port, row], ends[port, row]
        if not rows[row] or kinds[port, row] != BARE:
            continue
        for dot in range(first, last):
            if text[dot] == 46:
                starts[kind, row], ends[kind, row], kinds[kind, row] = first, dot, BARE
                starts[code, row], ends[code, row], kinds[code, row] = dot + 1, last, BARE
                kinds[port, row] = ABSENT
                break
