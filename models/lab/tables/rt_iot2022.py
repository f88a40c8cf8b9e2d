"""RT-IoT2022: flows of smart-home devices and attacks on them, as statistics of Zeek's flow meter.

It has no times and no addresses, and lies sorted by class: only a random split exists, which interpolates between
flows of the same few recordings. Read its figures as such.
"""

from functools import cache
from pathlib import Path

import numpy as np

from models.errors import RefusedModel
from models.lab.tables.table import NORMAL, Column, Table, one_by_one
from models.rows import Strings

FILE = "RT_IOT2022.parquet"
LABEL = "Attack_type"
HARMLESS = ("MQTT_Publish", "Thing_Speak", "Wipro_bulb")
CATEGORIES = ("proto", "service")
INDEX = "Unnamed: 0"  # restarts with every class
# A recording's two ports name its class: the flood goes to port 21 only, the scans leave from a handful.
PORTS = ("id.orig_p", "id.resp_p")
KIND = {
    "DOS_SYN_Hping": "dos",
    "DDOS_Slowloris": "dos",
    "ARP_poisioning": "spoofing",
    "Metasploit_Brute_Force_SSH": "brute force",
    "NMAP_FIN_SCAN": "scan",
    "NMAP_OS_DETECTION": "scan",
    "NMAP_TCP_scan": "scan",
    "NMAP_UDP_SCAN": "scan",
    "NMAP_XMAS_TREE_SCAN": "scan",
}


@cache
def load(folder: Path) -> Table:
    """Its records without index and ports; RefusedModel where the file or a column is missing.

    Of 123,117 records 18,283 differ once the ports are gone: 94,659 records of the flood come down to 57.
    """
    return _table(folder, identifying=False)


@cache
def identifiers(folder: Path) -> Table:
    """The same records with nothing but their ports: what `load` leaves out."""
    return _table(folder, identifying=True)


def _table(folder: Path, identifying: bool) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / FILE
    if not path.is_file():
        raise RefusedModel(f"{path}: got no such file, expected RT-IoT2022 as Parquet; name its folder with --data")
    try:
        data = pq.read_table(path)
    except pa.ArrowException as error:
        raise RefusedModel(f"{path}: got {error}, expected a Parquet file") from error
    missing = {LABEL, *CATEGORIES, *PORTS} - set(data.column_names)
    if missing:
        raise RefusedModel(f"{path}: got no column {', '.join(sorted(missing))}, expected those of RT-IoT2022")
    chosen = [name for name in data.column_names if name not in (INDEX, LABEL) and (name in PORTS) == identifying]
    columns, values = [], []
    for name in chosen:
        column = data.column(name)
        if name in CATEGORIES:
            words, codes = np.unique(np.asarray(column.to_pylist(), dtype=np.str_), return_inverse=True)
            columns.append(Column(name, "category", tuple(map(str, words))))
            values.append(codes.astype(np.float64))
        else:
            columns.append(Column(name, "number"))
            values.append(column.to_numpy().astype(np.float64))
    category = np.asarray(data.column(LABEL).to_pylist(), dtype=np.str_)
    label: Strings = np.where(np.isin(category, HARMLESS), NORMAL, category)
    names, inverse = np.unique(label, return_inverse=True)
    family: Strings = np.asarray([KIND.get(str(name), str(name)) for name in names], dtype=np.str_)[inverse]
    return Table("rt-iot2022", tuple(columns), np.column_stack(values), label, family, one_by_one(len(label)))
