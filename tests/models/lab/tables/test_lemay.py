from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.tables import lemay, pcap
from tests.models.lab.tables import real
from tests.real_records import FOLDER, needs


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_packet_s_fields(tmp_path: Path, order: str) -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    poll = real.tcp_packet(1, 2, (50_000, 502), 24, real.modbus(3, 100, 7, unit=5))
    packets = [(1_000_000_000_000_001, poll), (1_000_000_000_500_000, arp), (1_000_000_001_000_000, poll[:20])]
    real.pcap(tmp_path / "one.pcap", packets, order)
    read = pcap.read(tmp_path / "one.pcap")
    assert read.time_us.tolist() == [at for at, _ in packets]
    assert read.ethertype.tolist() == [0x0800, 0x0806, 0x0800]
    assert read.protocol.tolist() == [6, -1, -1] and read.source.tolist() == [0x0A000001, -1, -1]
    assert read.source_port.tolist() == [50_000, -1, -1] and read.destination_port.tolist() == [502, -1, -1]
    assert read.flags.tolist() == [24, -1, -1] and read.payload.tolist() == [12, -1, -1]
    assert (read.unit[0], read.function[0], read.address[0], read.quantity[0]) == (5, 3, 100, 7)
    assert read.function.tolist()[1:] == [-1, -1]


def test_a_record_is_a_second_of_a_conversation(tmp_path: Path) -> None:
    at = 1_400_000_000_000_000
    ask = real.tcp_packet(1, 2, (50_000, 502), 24, real.modbus(6, 1, 9))
    reply = real.tcp_packet(2, 1, (502, 50_000), 24, real.modbus(0x86, 1, 9))
    packets = [(at, ask), (at + 10, ask), (at + 700, reply), (at + 1_000_000, ask)]
    real.pcap(tmp_path / "send_x.pcap", packets)
    (tmp_path / "send_x_labeled.csv").write_text("1;0\n2;1\n3;0\n4;0\n")
    table = lemay.load(tmp_path)
    assert table.label.tolist() == ["fake command", "normal"]  # any hostile packet makes the record an attack
    named = {column.name: table.values[:, index].tolist() for index, column in enumerate(table.columns)}
    assert named["packets_up"] == [2, 1] and named["packets_down"] == [1, 0]
    assert named["modbus_writes"] == [2, 1] and named["modbus_exceptions"] == [1, 0]
    assert named["longest_gap_us"] == [690, 0]
    assert {lemay.SERVICES[int(code)] for code in named["service"]} == {"modbus"}


def test_identifiers_are_in_their_own_table_only(tmp_path: Path) -> None:
    real.lemay(tmp_path, "send_x", 445)
    table, who = lemay.load(tmp_path), lemay.identifiers(tmp_path)
    assert not {column.name for column in table.columns} & {column.name for column in who.columns}
    assert np.array_equal(table.label, who.label) and {"fake command", "normal"} == set(table.label.tolist())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-5], "the file is cut"),
        (lambda data: data + bytes(7), "inside the packet header"),
        (lambda data: b"\x0a\x0d\x0d\x0a" + data[4:], "no pcap file"),
        (lambda data: data[:20] + b"\x69\0\0\0" + data[24:], "link type 105"),
        (lambda data: data[:32] + b"\xff\xff\xff\xff" + data[36:], "no capture"),
        (lambda data: b"", "no pcap file"),
        (lambda data: data[:24], "lines for 0 packets"),
    ],
)
def test_a_damaged_capture_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    real.lemay(tmp_path, "send_x", 445)
    path = tmp_path / "send_x.pcap"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RefusedModel, match=words):
        lemay.load(tmp_path)


@pytest.mark.parametrize("labels", ["1;0\n", "1;0\n3;0\n", "1;0\n2;2\n", "one\ntwo\n"])
def test_labels_must_fit_the_packets(tmp_path: Path, labels: str) -> None:
    real.pcap(tmp_path / "x.pcap", [(0, bytes(60)), (5, bytes(60))])
    (tmp_path / "x_labeled.csv").write_text(labels)
    with pytest.raises(RefusedModel, match="for 2 packets"):
        lemay.load(tmp_path)


def test_a_folder_without_captures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedModel, match="Lemay"):
        lemay.load(tmp_path)


@needs("lemay-modbus", "the Lemay captures are read packet by packet, with the labels as published")
def test_the_real_captures() -> None:
    folder = FOLDER / "lemay-modbus"
    name = "send_a_fake_command_modbus_6RTU_with_operate"
    assert len(pcap.read(folder / f"{name}.pcap")) == 11_166
    table = lemay.load(folder)
    assert {"characterization", "fake command", "file transfer", "normal"} <= set(table.label.tolist())
    assert np.isfinite(table.values).all()
