"""NSL-KDD: KDDTrain+, KDDTest+ and KDDTest-21, with the usual five classes."""

import csv
from pathlib import Path

import numpy as np

from models.errors import RefusedModel
from models.lab.tables.table import NORMAL, Column, Table, one_by_one
from models.rows import Strings

TRAIN, TEST, TEST_21 = "KDDTrain+", "KDDTest+", "KDDTest-21"
FAMILIES = (NORMAL, "dos", "probe", "r2l", "u2r")
CATEGORIES = ("protocol_type", "service", "flag")
FLAGS = ("land", "logged_in", "root_shell", "is_host_login", "is_guest_login")
LEAVES_OUT = ("attack", "difficulty")  # the label, and how many of 21 learners solved the record: it leaks the label


def load(folder: Path, name: str) -> Table:
    """One of the set's files (`NAME.parquet`, 41 features, `attack`), its families by attack_categories.csv.

    RefusedModel where a file, a column or an attack's family is missing.
    """
    import pyarrow.parquet as pq

    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise RefusedModel(f"{path}: got no such file, expected NSL-KDD as Parquet; name its folder with --data")
    data = pq.read_table(path)
    if "attack" not in data.column_names:
        raise RefusedModel(f"{path}: got columns {data.column_names}, expected the 41 of NSL-KDD and `attack`")
    columns, values = [], []
    for feature in data.column_names:
        if feature in LEAVES_OUT:
            continue
        column = data.column(feature)
        if feature in CATEGORIES:
            words, codes = np.unique(np.asarray(column.to_pylist(), dtype=np.str_), return_inverse=True)
            columns.append(Column(feature, "category", tuple(map(str, words))))
            values.append(codes.astype(np.float64))
        else:
            columns.append(Column(feature, "flag" if feature in FLAGS else "number"))
            values.append(column.to_numpy().astype(np.float64))
    label = np.asarray(data.column("attack").to_pylist(), dtype=np.str_)
    return Table(name, tuple(columns), np.column_stack(values), label, _families(folder, label), one_by_one(len(label)))


def _families(folder: Path, label: Strings) -> Strings:
    path = folder / "attack_categories.csv"
    if not path.is_file():
        raise RefusedModel(f"{path}: got no such file, expected the family of every attack (columns attack, category)")
    with path.open(newline="", encoding="utf-8") as lines:
        family = {row["attack"]: row["category"] for row in csv.DictReader(lines)} | {NORMAL: NORMAL}
    names, inverse = np.unique(label, return_inverse=True)
    unknown = sorted(set(map(str, names)) - set(family))
    if unknown:
        raise RefusedModel(f"{path}: got no family for {', '.join(unknown)}; add a line for each")
    result: Strings = np.asarray([family[str(name)] for name in names], dtype=np.str_)[inverse]
    return result
