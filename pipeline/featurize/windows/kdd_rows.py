"""A batch of flows as the KDD windows read it: no more columns than they need."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.featurize.addresses import address_keys
from pipeline.featurize.rows import (
    REJECTIONS,
    RERROR,
    SERROR,
    SYN_ERRORS,
    TCP,
    Flags,
    Ints,
    Keys,
    ints,
    is_one_of,
    protocols,
    services,
)
from pipeline.featurize.windows.kdd_services import extractor_services

EXTRACTOR_SYN_ERRORS = pa.array(["S0", "S1", "S2", "S3"])
EXTRACTOR_REJECTIONS = pa.array(["REJ"])


class KddRows(NamedTuple):
    """n flows, each field an array of n; unknown ports are -1."""

    end_us: Ints
    dst: Keys
    service: Keys
    src_port: npt.NDArray[np.int32]
    errors: Flags  # SERROR | RERROR
    dst_rank: Ints  # of the destination's address among the batch's, as text; zeros where nobody asks


def _rows(flows: pa.RecordBatch, syn_errors: pa.Array, rejections: pa.Array) -> tuple[KddRows, Ints, Ints]:
    """The arrays, the protocols and the destination ports."""
    protocol = protocols(flows)
    dst_port = ints(flows.column("dst_port"), -1)
    state, tcp = flows.column("conn_state"), protocol == TCP
    errors = (is_one_of(state, syn_errors) & tcp) * SERROR + (is_one_of(state, rejections) & tcp) * RERROR
    rows = KddRows(
        end_us=ints(flows.column("end_ts_us"), 0),
        dst=address_keys(flows.column("dst_addr"))[0],
        service=services(protocol, dst_port),
        src_port=ints(flows.column("src_port"), -1).astype(np.int32),
        errors=errors.astype(np.uint8),
        dst_rank=np.zeros(len(flows), np.int64),
    )
    return rows, protocol, dst_port


def online_rows(flows: pa.RecordBatch) -> KddRows:
    """The arrays of a batch of the `flow` schema, with NSL-KDD's errors and services by protocol and port."""
    return _rows(flows, SYN_ERRORS, REJECTIONS)[0]


def nsl_rows(flows: pa.RecordBatch) -> KddRows:
    """The same with the rank of each destination's address, by which the file is sorted."""
    coded = flows.column("dst_addr").dictionary_encode()
    ranks = np.empty(len(coded.dictionary), np.int64)
    ranks[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(len(ranks))
    return online_rows(flows)._replace(dst_rank=ranks[coded.indices.to_numpy()])


def extractor_rows(flows: pa.RecordBatch) -> KddRows:
    """The arrays with the extractor's errors, and services by KDD's names."""
    rows, protocol, dst_port = _rows(flows, EXTRACTOR_SYN_ERRORS, EXTRACTOR_REJECTIONS)
    icmp_type, icmp_code = ints(flows.column("icmp_type"), -1), ints(flows.column("icmp_code"), -1)
    named = extractor_services(protocol, rows.src_port, dst_port, icmp_type, icmp_code)
    return rows._replace(service=named.astype(np.uint64))
