import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.conn_json import PROTOCOLS, SERVICES, STATES, conn_json
from loadtest.scenarios import CYCLE_US, SCENARIOS, Scenario, cycle_records, records
from loadtest.sending import Load, messages
from pipeline.contracts.raw import ZEEK_JSON
from tests.ingest.records import decode

START_US = 1_700_000_000_000_000
SMALL = replace(SCENARIOS["flood"], controllers=3, attack_records=40, addresses=1_000)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_line_is_a_record_that_ingest_takes(scenario: Scenario) -> None:
    flows = records(scenario, 3, 0, 0, 2 * cycle_records(scenario, 3), START_US)
    lines = conn_json(flows)
    texts = lines.text.splitlines()
    assert [lines.message(at, at + 1) for at in range(len(texts))] == texts
    decoded = decode(texts, ZEEK_JSON, pack=50)
    assert decoded.rejects.num_rows == 0
    assert decoded.flows["end_ts_us"].to_pylist() == flows.end_us.tolist()
    assert decoded.flows["fwd_bytes"].to_pylist() == flows.orig_bytes.tolist()


def test_a_line_says_what_the_columns_hold() -> None:
    flows = records(SMALL, 1, 2, 0, 500, START_US)
    for row, line in enumerate(conn_json(flows).text.splitlines()):
        record = json.loads(line)
        address = ".".join(str(int(flows.src[row]) >> shift & 255) for shift in (24, 16, 8, 0))
        assert record["id.orig_h"] == address and record["id.orig_p"] == flows.src_port[row]
        assert record["proto"] == PROTOCOLS[flows.protocol[row]] and record["conn_state"] == STATES[flows.state[row]]
        assert record.get("service", "") == SERVICES[flows.service[row]]
        assert round(record["ts"] * 1e6) == flows.end_us[row] - flows.duration_us[row]


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), sensor=st.integers(0, 9), first=st.integers(0, 3_000), cut=st.integers(1, 500))
def test_a_record_does_not_depend_on_the_block_it_is_made_in(seed: int, sensor: int, first: int, cut: int) -> None:
    untidy = replace(SMALL, out_of_order=0.3, late=0.05)
    whole = records(untidy, seed, sensor, first, 600, START_US)
    rest = records(untidy, seed, sensor, first + cut, 600 - cut, START_US)
    assert all(np.array_equal(column[cut:], other) for column, other in zip(whole, rest, strict=True))


def test_the_plant_is_the_same_under_attack() -> None:
    flooded = records(SMALL, 5, 0, 0, 3 * cycle_records(SMALL, 5), START_US)
    quiet = replace(SMALL, attack="none", attack_records=0)
    left = records(quiet, 5, 0, 0, 3 * cycle_records(quiet, 5), START_US)
    ours = flooded.src < 1 << 30
    assert (~ours).sum() == 120
    assert all(np.array_equal(column[ours], other) for column, other in zip(flooded, left, strict=True))


def test_as_many_spoofed_addresses_as_the_scenario_says() -> None:
    flood = replace(SMALL, attack_records=20_000, addresses=70_000)
    flows = records(flood, 0, 0, 0, 5 * cycle_records(flood), START_US)
    assert len(np.unique(flows.src[flows.src >= 1 << 30])) == 70_000


def test_polls_come_like_clockwork() -> None:
    steady = SCENARIOS["steady"]
    flows = records(steady, 0, 0, 0, 10 * cycle_records(steady), START_US)
    ways = Counter(zip(flows.src.tolist(), flows.dst.tolist(), flows.dst_port.tolist(), strict=True))
    busiest = ways.most_common(1)[0][0]
    ours = (flows.src == busiest[0]) & (flows.dst == busiest[1]) & (flows.dst_port == busiest[2])
    gaps = np.diff(np.sort(flows.end_us[ours]))
    assert abs(np.median(gaps) - gaps.mean()) < 1_000 and gaps.std() < 2_000


def test_order_and_lateness_are_as_asked() -> None:
    steady = SCENARIOS["steady"]
    tidy = records(steady, 0, 0, 0, 20_000, START_US)
    assert (np.diff(tidy.end_us) >= 0).all()
    late = replace(steady, late=0.02)
    flows = records(late, 0, 0, 0, 10 * cycle_records(late), START_US)
    behind = np.maximum.accumulate(flows.end_us) - flows.end_us
    assert 0.008 < (behind > 2_000_000).mean() < 0.025
    mixed_up = replace(steady, out_of_order=0.2)
    flows = records(mixed_up, 0, 0, 0, 10 * cycle_records(mixed_up), START_US)
    behind = np.maximum.accumulate(flows.end_us) - flows.end_us
    assert behind.max() < 1_600_000 and 0.1 < (behind > 0).mean() < 0.5


@pytest.mark.parametrize(("rate", "pack"), [(0.0, 1), (0.0, 7), (500.0, 1), (500.0, 7)])
def test_a_load_is_all_its_records_of_every_sensor_in_order(rate: float, pack: int) -> None:
    load = Load(replace(SCENARIOS["sites"], sites=3, sensors=2), 1_000, 1, rate, pack)
    sent: dict[int, list[bytes]] = {}
    for sensor, part in messages(load, START_US):
        for value, count in part:
            assert len(value.splitlines()) == count <= pack
            sent.setdefault(sensor, []).extend(value.splitlines())
    shares = [167, 167, 167, 167, 166, 166]
    assert [len(sent[sensor]) for sensor in range(6)] == shares
    for sensor, lines in sent.items():
        wanted = conn_json(records(load.scenario, 1, sensor, 0, shares[sensor], START_US))
        assert lines == wanted.text.splitlines()
    assert load.span_us % CYCLE_US == 0
