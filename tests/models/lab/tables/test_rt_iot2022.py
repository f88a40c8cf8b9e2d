from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import RefusedModel
from models.lab.tables import rt_iot2022
from tests.real_records import FOLDER, needs


def small(folder: Path, **without: None) -> None:
    columns = {
        "Unnamed: 0": [0, 1, 0],
        "id.orig_p": [40_000, 40_001, 5],
        "id.resp_p": [1883, 1883, 21],
        "proto": ["tcp", "tcp", "udp"],
        "service": ["mqtt", "mqtt", "-"],
        "flow_duration": [1.5, 1.5, 0.0],
        "Attack_type": ["MQTT_Publish", "Wipro_bulb", "DOS_SYN_Hping"],
    }
    pq.write_table(
        pa.table({name: column for name, column in columns.items() if name not in without}), folder / rt_iot2022.FILE
    )


def test_neither_index_nor_ports_are_columns(tmp_path: Path) -> None:
    small(tmp_path)
    table, who = rt_iot2022.load(tmp_path), rt_iot2022.identifiers(tmp_path)
    assert [column.name for column in table.columns] == ["proto", "service", "flow_duration"]
    assert [column.name for column in who.columns] == ["id.orig_p", "id.resp_p"]
    assert table.label.tolist() == ["normal", "normal", "DOS_SYN_Hping"]
    assert table.family.tolist() == ["normal", "normal", "dos"]


def test_what_is_not_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedModel, match="no such file"):
        rt_iot2022.load(tmp_path)
    (tmp_path / rt_iot2022.FILE).write_text("no parquet")
    with pytest.raises(RefusedModel, match="expected a Parquet file"):
        rt_iot2022.load(tmp_path)
    small(tmp_path, service=None)
    with pytest.raises(RefusedModel, match="no column service"):
        rt_iot2022.load(tmp_path)


@needs("rt-iot2022", "RT-IoT2022 has the counts that were published")
def test_the_real_set_counts_as_published() -> None:
    table = rt_iot2022.load(FOLDER / "rt-iot2022")
    assert len(table) == 123_117 and int((table.label == "DOS_SYN_Hping").sum()) == 94_659
    assert int((~table.attack).sum()) == 8_108 + 4_146 + 253
