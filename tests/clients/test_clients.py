"""Real clients with the examples of docs/connect: what they write to Kafka becomes flows, each record one."""

import json
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.plants.westermo import traffic
from pipeline.runtime.kafka import topics
from pipeline.settings import load_settings
from tests.clients import capture, exporters
from tests.clients.capture import write_capture
from tests.clients.plant import (
    BROKER,
    Plant,
    client,
    example,
    free_port,
    needs,
    sources_of,
    substituted,
    wait_until_listening,
)
from tests.integration.chains import wait_for, worker

pytestmark = pytest.mark.integration

CLIENTS = ("rsyslog", "kcat", "filebeat", "pmacct", "goflow2", "nfdump", "argus")
CONN_LOG = "/opt/zeek/logs/current/conn.log"
RECORDS = 500
ROTATED = 100  # written to a new file, after the first was renamed
# kcat reads its input by the KiB, so that a record or more waits until others follow.
KCAT_WAITING = 8


@pytest.fixture(scope="module")
def plant(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One intake, one follower and one ingest, with the sources of all pages."""
    folder = tmp_path_factory.mktemp("plant")
    prefix = f"t{uuid.uuid4().hex[:10]}."
    sources = folder / "sources.yaml"
    entries = [entry for tool in CLIENTS for entry in sources_of(tool, prefix, folder)]
    sources.write_text(yaml.safe_dump({"sources": entries}))
    settings = load_settings(
        bootstrap=kafka, topic_prefix=f"{prefix}ours.", partitions=2, metrics_port=-1, sources=str(sources)
    )
    topics.create(settings)
    topics.create_for_sources(settings)
    named = f"--sources {sources}"
    with (
        worker(settings, f"pipeline.tools.cli intake run {named}", "a", folder / "intake.log"),
        worker(settings, f"pipeline.tools.cli flow follow {named}", "a", folder / "follow.log"),
        worker(settings, "pipeline.tools.cli ingest run", "a", folder / "ingest.log"),
    ):
        wait_for(folder / "intake.log", "ready")
        wait_for(folder / "ingest.log", "ready")
        yield Plant(settings, prefix, folder)


def zeek_records(count: int) -> list[dict[str, Any]]:
    """The plant's first TCP and UDP flows, in the order of their ends, as Zeek's conn.log has such."""
    rows = [row for row in traffic.rows("left") if row["protocol"] in ("IPV4-TCP", "IPV4-UDP")]
    rows = sorted(rows, key=lambda row: float(row["end"]))[:count]
    assert len(rows) == count
    return [
        {
            "ts": float(row["start"]), "uid": f"C{number:05}", "id.orig_h": row["sIPs"], "id.orig_p": 40_000,
            "id.resp_h": row["rIPs"], "id.resp_p": 502, "proto": row["protocol"][5:].lower(),
            "duration": float(row["duration"]), "orig_bytes": int(row["sPayloadSum"]),
            "resp_bytes": int(row["rPayloadSum"]), "conn_state": "SF", "missed_bytes": 0,
            "orig_pkts": int(row["sPackets"]), "resp_pkts": int(row["rPackets"]),
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip


def as_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def assert_same(flows: list[dict[str, Any]], records: list[dict[str, Any]], sensor: str) -> None:
    """Every record is one flow, with its times, addresses and counts, and no other."""
    got = {flow["sensor_uid"]: flow for flow in flows}
    assert len(flows) == len(got) == len(records) and {flow["sensor"] for flow in flows} == {sensor}
    for record in records:
        flow = got[record["uid"]]
        assert (flow["src_addr"], flow["dst_addr"], flow["fwd_pkts"], flow["rev_pkts"], flow["fwd_bytes"]) == (
            record["id.orig_h"], record["id.resp_h"], record["orig_pkts"], record["resp_pkts"], record["orig_bytes"],
        )  # fmt: skip
        assert abs(flow["start_ts_us"] - record["ts"] * 1e6) < 1


@needs("rsyslogd")
def test_rsyslog_sends_a_log_that_grows_and_rotates(plant: Plant, tmp_path: Path) -> None:
    records = zeek_records(RECORDS)
    conn = tmp_path / "conn.log"
    conn.write_text(as_lines(records[: RECORDS // 2]))
    replaced = {CONN_LOG: str(conn), BROKER: plant.settings.bootstrap, '"zeek"\n': f'"{plant.prefix}zeek"\n'}
    (tmp_path / "forebay.conf").write_text(
        example("rsyslog/forebay.conf", **replaced, **{"/var/spool/rsyslog": str(tmp_path)})
    )
    # What the distribution's rsyslog.conf has around it.
    main = f'global(workDirectory="{tmp_path}")\ninclude(file="{tmp_path}/forebay.conf")\n'
    (tmp_path / "rsyslog.conf").write_text(main)
    log = tmp_path / "rsyslog.log"
    with client("rsyslogd", "-n", "-f", f"{tmp_path}/rsyslog.conf", "-i", f"{tmp_path}/pid", log=log):
        plant.flows("rsyslog", RECORDS // 2, log)
        with conn.open("a") as file:
            file.write(as_lines(records[RECORDS // 2 : -ROTATED]))
            file.flush()
            conn.rename(tmp_path / "conn-1.log")
            conn.write_text(as_lines(records[-ROTATED:]))
        flows = plant.flows("rsyslog", RECORDS, log)
    assert_same(flows, records, socket.gethostname().split(".")[0])
    checked = plant.check("zeek")
    assert checked["flows"] == RECORDS and not checked["rejects"]


@needs("kcat")
def test_kcat_sends_a_log_that_grows_with_a_header(plant: Plant, tmp_path: Path) -> None:
    records = zeek_records(RECORDS)
    conn = tmp_path / "conn.log"
    conn.write_text(as_lines(records[: RECORDS // 2]))
    replaced = {CONN_LOG: str(conn), BROKER: plant.settings.bootstrap, "zeek-kcat": f"{plant.prefix}zeek-kcat"}
    script = tmp_path / "send.sh"
    script.write_text(example("kcat/send.sh", **replaced))
    log = tmp_path / "kcat.log"
    with client("sh", str(script), log=log):
        time.sleep(0.5)
        with conn.open("a") as file:
            file.write(as_lines(records[RECORDS // 2 : RECORDS - KCAT_WAITING]))
            file.flush()
            plant.flows("kcat", RECORDS - 2 * KCAT_WAITING, log)
            file.write(as_lines(records[RECORDS - KCAT_WAITING :]))
            file.flush()
            flows = plant.flows("kcat", RECORDS - KCAT_WAITING, log)
    assert_same(flows, records[: len(flows)], "edge-1")


@needs("filebeat")
def test_filebeat_sends_a_log_that_grows_and_rotates(plant: Plant, tmp_path: Path) -> None:
    records = zeek_records(RECORDS)
    conn = tmp_path / "conn.log"
    conn.write_text(as_lines(records[: RECORDS // 2]))
    replaced = {
        CONN_LOG: str(conn),
        BROKER: plant.settings.bootstrap,
        "topic: filebeat": f"topic: {plant.prefix}filebeat",
    }
    configuration = tmp_path / "filebeat.yml"
    configuration.write_text(example("filebeat/filebeat.yml", **replaced))
    configuration.chmod(0o600)
    log = tmp_path / "filebeat.log"
    with client("filebeat", "-e", "-c", str(configuration), "--path.home", str(tmp_path), log=log):
        plant.flows("filebeat", RECORDS // 2, log)
        with conn.open("a") as file:
            file.write(as_lines(records[RECORDS // 2 : -ROTATED]))
            file.flush()
            conn.rename(tmp_path / "conn-1.log")
            conn.write_text(as_lines(records[-ROTATED:]))
        flows = plant.flows("filebeat", RECORDS, log)
    assert_same(flows, records, socket.gethostname())


def assert_exported(flows: list[dict[str, Any]], sent: list[exporters.Packets], sensor: str, tolerance_us: int) -> None:
    """Each flow that was sent, in one direction, with its counts; times within what the client rounds to."""
    names = ("sensor", "src_addr", "src_port", "dst_addr", "dst_port", "fwd_bytes", "fwd_pkts", "is_biflow")
    expected = sorted((sensor, *each[:4], *each[5:7], False) for each in sent)
    assert sorted(tuple(flow[name] for name in names) for flow in flows) == expected
    starts = {each.src_port: (each.start_us, each.end_us) for each in sent}
    for flow in flows:
        start_us, end_us = starts[flow["src_port"]]
        assert abs(flow["start_ts_us"] - start_us) <= tolerance_us and abs(flow["end_ts_us"] - end_us) <= tolerance_us


def pmacct_configuration(plant: Plant, daemon: str, port: int) -> str:
    """A daemon's example with our port and broker; it writes every second."""
    host, broker_port = plant.settings.bootstrap.split(":")
    text = example(f"pmacct/{daemon}.conf")
    [listening] = [line for line in text.splitlines() if line.startswith(f"{daemon}_port")]
    replaced = {
        listening: f"{daemon}_port: {port}",
        "kafka_broker_host: 127.0.0.1": f"kafka_broker_host: {host}",
        "kafka_broker_port: 9092": f"kafka_broker_port: {broker_port}",
        "kafka_topic: pmacct": f"kafka_topic: {plant.prefix}pmacct",
        "kafka_refresh_time: 10": "kafka_refresh_time: 1",
    }
    return substituted(text, replaced)


@needs("nfacctd")
@needs("sfacctd")
def test_pmacct_writes_netflow_ipfix_and_sflow(plant: Plant, tmp_path: Path) -> None:
    netflow, sflow, now_us = free_port(), free_port(), time.time_ns() // 1000
    logs = {daemon: tmp_path / f"{daemon}.log" for daemon in ("nfacctd", "sfacctd")}
    for daemon, port in (("nfacctd", netflow), ("sfacctd", sflow)):
        (tmp_path / f"{daemon}.conf").write_text(pmacct_configuration(plant, daemon, port))
    sent = exporters.polls(now_us, 25)
    with (
        client("nfacctd", "-f", str(tmp_path / "nfacctd.conf"), log=logs["nfacctd"]) as nfacctd,
        client("sfacctd", "-f", str(tmp_path / "sfacctd.conf"), log=logs["sfacctd"]) as sfacctd,
    ):
        wait_until_listening(netflow, nfacctd, logs["nfacctd"])
        wait_until_listening(sflow, sfacctd, logs["sfacctd"])
        for log in logs.values():
            wait_for(log, "setting object handlers")  # what comes before its plugin runs is lost
        for export in (exporters.netflow5, exporters.netflow9, exporters.ipfix):
            exporters.send(export(sent, now_us), netflow)
        exporters.send(exporters.sflow5(sent, now_us), sflow)
        flows = plant.flows("pmacct", 100, logs["nfacctd"])
    # Nothing in a record tells sFlow 5 from NetFlow 5: both are version 5.
    assert_sampled([flow for flow in flows if flow["sensor"] == exporters.SFLOW_AGENT], sent, now_us)
    for protocol, tolerance_us in (("netflow5", 1_000_000), ("netflow9", 1_000_000), ("ipfix", 0)):
        of_exporter = [flow for flow in flows if flow["sensor"] == "127.0.0.1"]
        exported = [flow for flow in of_exporter if flow["export_protocol"] == protocol]
        assert_exported(exported, sent, "127.0.0.1", tolerance_us)
    checked = plant.check("pmacct")
    assert checked["flows"] == 100 and not checked["rejects"]


def assert_sampled(flows: list[dict[str, Any]], sent: list[exporters.Packets], now_us: int) -> None:
    """Each sampled packet is a flow of the agent, with the packet's bytes and the time of its receipt."""
    names = ("sensor", "src_addr", "src_port", "dst_addr", "dst_port", "fwd_bytes", "fwd_pkts")
    expected = sorted((exporters.SFLOW_AGENT, *each[:4], each.octets, 1) for each in sent)
    assert sorted(tuple(flow[name] for name in names) for flow in flows) == expected
    assert all(now_us <= flow["start_ts_us"] == flow["end_ts_us"] < now_us + 60_000_000 for flow in flows)


@needs("goflow2")
def test_goflow2_writes_netflow_ipfix_and_sflow(plant: Plant, tmp_path: Path) -> None:
    netflow, sflow, now_us = free_port(), free_port(), time.time_ns() // 1000
    replaced = {
        "netflow://:2055": f"netflow://127.0.0.1:{netflow}",
        "sflow://:6343": f"sflow://127.0.0.1:{sflow}",
        "127.0.0.1:8080": "127.0.0.1:0",
        BROKER: plant.settings.bootstrap,
        "topic goflow2": f"topic {plant.prefix}goflow2",
    }
    (tmp_path / "run.sh").write_text(example("goflow2/run.sh", **replaced))
    log = tmp_path / "goflow2.log"
    with client("sh", str(tmp_path / "run.sh"), log=log) as process:
        wait_until_listening(netflow, process, log)
        wait_until_listening(sflow, process, log)
        sent = exporters.polls(now_us, 25)
        for export in (exporters.netflow5, exporters.netflow9, exporters.ipfix):
            exporters.send(export(sent, now_us), netflow)
        exporters.send(exporters.sflow5(sent, now_us), sflow)
        flows = plant.flows("goflow2", 100, log)
    # NetFlow 9 counts from the exporter's start, which its datagrams tell to the second.
    for protocol, tolerance_us in (("netflow5", 1000), ("netflow9", 1_000_000), ("ipfix", 0)):
        assert_exported(
            [flow for flow in flows if flow["export_protocol"] == protocol], sent, "127.0.0.1", tolerance_us
        )
    assert_sampled([flow for flow in flows if flow["export_protocol"] == "sflow"], sent, now_us)
    checked = plant.check("goflow2")
    assert checked["flows"] == 100 and not checked["rejects"]


@needs("nfcapd")
def test_nfdump_writes_a_file_an_interval(plant: Plant, tmp_path: Path) -> None:
    port, now_us = free_port(), time.time_ns() // 1000
    script = tmp_path / "flows-to-json"
    script.write_text(example("nfdump/flows-to-json", **{"/var/lib/flows": str(plant.folder)}))
    script.chmod(0o755)
    replaced = {
        "-p 2055": f"-b 127.0.0.1 -p {port}",
        "/var/cache/nfdump": str(tmp_path),
        "-t 60": "-t 2",
        "/usr/local/bin/flows-to-json": str(script),
    }
    (tmp_path / "collect.sh").write_text(example("nfdump/collect.sh", **replaced))
    log = tmp_path / "nfdump.log"
    sent = exporters.polls(now_us, 25)
    with client("sh", str(tmp_path / "collect.sh"), log=log) as process:
        wait_until_listening(port, process, log)
        for export in (exporters.netflow5, exporters.netflow9, exporters.ipfix):
            exporters.send(export(sent, now_us), port)
        flows = plant.flows("nfdump", 75, log)
    # Three exports of the same flows; the times of NetFlow 9 are right to the second.
    assert_exported(flows, [each for each in sent for _ in range(3)], "edge-1", 1_000_000)
    assert "warning" not in (plant.folder / "follow.log").read_text()  # also of intervals without flows


@needs("argus")
@needs("ra")
def test_ra_writes_flows_of_argus(plant: Plant, tmp_path: Path) -> None:
    sent = exporters.polls(time.time_ns() // 1000, 25)
    write_capture(tmp_path / "capture.pcap", sent)
    # A capture is read instead of an interface, to whose packets one needs a right; ra reads what argus made of it.
    replaced = {
        "argus -d ": "argus ",
        "-i eth0 -B 127.0.0.1 -P 561": f"-r {tmp_path}/capture.pcap -w {tmp_path}/argus.out",
        "-S 127.0.0.1:561": f"-r {tmp_path}/argus.out",
        "/var/log/argus": str(plant.folder),
    }
    (tmp_path / "record.sh").write_text(example("argus/record.sh", **replaced))
    log = tmp_path / "argus.log"
    with client("sh", str(tmp_path / "record.sh"), log=log):
        flows = plant.flows("argus", 25, log)
    names = ("sensor", "src_addr", "src_port", "dst_addr", "dst_port", "start_ts_us", "end_ts_us", "fwd_pkts",
             "rev_pkts", "fwd_payload_bytes", "rev_payload_bytes", "conn_state")  # fmt: skip
    assert [tuple(flow[name] for name in names) for flow in flows] == [
        ("edge-1", *each[:4], each.start_us, each.end_us, capture.FORWARD_PACKETS, capture.REVERSE_PACKETS,
         len(capture.REQUEST), len(capture.RESPONSE), "SF")
        for each in sent
    ]  # fmt: skip
