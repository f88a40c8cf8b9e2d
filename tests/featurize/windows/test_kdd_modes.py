"""KDD's features 23-41 in three modes: against oracles, by their identities, and as NSL-KDD's records obey them."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.feature_sets import EXTRACTOR, KDD_NAMES, NSL, ONLINE
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.featurize.windows.kdd_modes import two_decimals
from pipeline.featurize.windows.kdd_services import NAMES, extractor_services
from tests.examples import examples
from tests.featurize import oracle
from tests.featurize.flows import batch, flow_rows, matrix_of
from tests.real_records import FOLDER, needs

Values = np.ndarray[Any, np.dtype[np.float32]]


def _table(rows: list[dict[str, Any]], feature_set: Any, lateness_us: int = 0) -> dict[int, Values]:
    got = featurize_file_rows(batch(rows), lateness_us, batch_rows=7, feature_set=feature_set)
    return dict(zip(got.column("raw_offset").to_pylist(), matrix_of(got), strict=True))


def _many(seed: int, count: int = 700) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "at": number * 0.01 + float(rng.choice([0, 0, 0, 3])) * (number % 97 == 0),
            "dst_addr": f"10.0.0.{rng.choice([1, 1, 1, 1, 1, 2, 3, 4 + number % 20])}",
            "dst_port": int(rng.choice([22, 22, 53, 80, 8080, 502, 50_000])),
            "src_port": int(rng.choice([20, 1000, 2000, 3000])),
            "conn_state": str(rng.choice(["SF", "S0", "REJ", "SH", "RSTO"])),
        }
        for number in range(count)
    ]


@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_online_is_what_the_first_set_computes(rows: list[dict[str, Any]]) -> None:
    first = _table(rows, FEATURE_SET, 1_500_000)
    for offset, values in _table(rows, ONLINE, 1_500_000).items():
        columns = [FEATURE_SET.names.index(name) for name in KDD_NAMES]
        assert values.tolist() == first[offset][columns].tolist()


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_extractor_agrees_with_its_oracle(rows: list[dict[str, Any]]) -> None:
    for lateness_us in (0, 1_500_000):
        windows, got = oracle.Extractor(), _table(rows, EXTRACTOR, lateness_us)
        for flow, late in oracle.in_event_order(batch(rows).to_pylist(), lateness_us):
            expected = np.asarray(windows.features(flow, late > 0), np.float32)
            assert got[flow["raw_offset"]].tolist() == expected.tolist()


@pytest.mark.slow
def test_extractor_over_full_windows() -> None:
    rows = _many(5)
    windows, got = oracle.Extractor(), _table(rows, EXTRACTOR)
    for flow, late in oracle.in_event_order(batch(rows).to_pylist(), 0):
        assert got[flow["raw_offset"]].tolist() == np.asarray(windows.features(flow, late > 0), np.float32).tolist()


def test_the_extractor_evicts_after_computing() -> None:
    """A flow after a gap still sees the window before the gap; the one after it does not."""
    rows = [{"at": 0.0}, {"at": 0.5}, {"at": 100.0}, {"at": 100.1}]
    assert [values[0] for values in _table(rows, EXTRACTOR).values()] == [0, 1, 2, 1]


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_nsl_agrees_with_its_oracle(rows: list[dict[str, Any]]) -> None:
    expected, got = oracle.nsl(batch(rows).to_pylist()), _table(rows, NSL)
    assert got.keys() == expected.keys()
    for offset, values in expected.items():
        assert got[offset].tolist() == np.asarray(values, np.float32).tolist()


@pytest.mark.slow
def test_nsl_over_full_windows() -> None:
    rows = _many(6)
    got = _table(rows, NSL)
    for offset, values in oracle.nsl(batch(rows).to_pylist()).items():
        assert got[offset].tolist() == np.asarray(values, np.float32).tolist()
    assert max(values[9] for values in got.values()) == 255


def _nsl_identities(values: dict[str, Any], serror: Any, rerror: Any) -> None:
    """What NSL-KDD's records obey, of columns by name; serror, rerror: a row's own flags."""
    alone = values["count"] == 1
    assert (values["serror_rate"][alone] == serror[alone]).all()
    assert (values["rerror_rate"][alone] == rerror[alone]).all()
    full = values["dst_host_count"] == 255
    assert (values["dst_host_srv_diff_host_rate"][full] == 0).all()
    assert (values["count"] <= 511).all() and (values["dst_host_count"] <= 255).all()
    for prefix, names in (("", ("count", "srv_count")), ("dst_host_", ("dst_host_count", "dst_host_srv_count"))):
        n, m = (values[name] for name in names)
        for rate, whole in ((f"{prefix}diff_srv_rate", n), (f"{prefix}srv_diff_host_rate", m)):
            few = (whole > 1) & (whole <= 50)
            single = np.array([round(1 / int(count), 2) for count in whole[few]])
            rates = values[rate][few]
            assert not (np.isclose(rates, single) & (rates > 0)).any()


@needs("nsl-kdd", "the identities of the 41 features hold in the real NSL-KDD")
def test_the_real_nsl_kdd_obeys_the_identities() -> None:
    """The definitions are read off these records, so they must hold there: 47,736 rows, all of them."""
    for name in ("KDDTrain+_20Percent", "KDDTest+"):
        table = pq.read_table(FOLDER / "nsl-kdd" / f"{name}.parquet")
        flag = np.array(table["flag"].to_pylist())
        columns = {column: table[column].to_numpy().astype(float) for column in KDD_NAMES}
        serror = np.isin(flag, sorted(oracle.SERRORS)).astype(float)
        _nsl_identities(columns, serror, np.isin(flag, sorted(oracle.RERRORS)).astype(float))


@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_ours_obeys_them_too(rows: list[dict[str, Any]]) -> None:
    flows = {flow["raw_offset"]: flow for flow in batch(rows).to_pylist()}
    got = _table(rows, NSL)
    columns = {name: np.array([values[at] for values in got.values()]) for at, name in enumerate(KDD_NAMES)}
    serror = np.array([oracle.error(flows[offset], oracle.SERRORS) for offset in got])
    _nsl_identities(columns, serror, np.array([oracle.error(flows[offset], oracle.RERRORS) for offset in got]))


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_rates_are_rates_and_overlaps_no_larger_than_either(rows: list[dict[str, Any]]) -> None:
    for feature_set in (ONLINE, EXTRACTOR, NSL):
        for values in _table(rows, feature_set, 1_500_000).values():
            rates = np.delete(values, [0, 1, 9, 10])
            assert ((rates >= 0) & (rates <= 1)).all()
            for n, m, same in ((values[0], values[1], values[6]), (values[9], values[10], values[11])):
                assert round(float(same * n)) <= min(n, m)


@given(st.integers(1, 2000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_two_decimals_as_printf_writes_them(rate: tuple[int, int]) -> None:
    part, whole = rate
    assert two_decimals(np.array([part / whole]))[0] == float(f"{part / whole:.2f}")


def test_ties_go_to_even_and_near_ties_to_where_they_lean() -> None:
    values = np.array([0.125, 0.375, 0.625, 0.145, 0.155, 0.165, 0.29, 1.0, 0.0, 0.995])
    assert two_decimals(values).tolist() == [float(f"{value:.2f}") for value in values]


def test_services_have_kdd_names() -> None:
    protocol = np.array([6, 6, 6, 6, 17, 17, 1, 1, 1, 2, 0x10806, 6])
    src_port = np.array([1, 20, 1, 1, 1, 1, -1, -1, -1, -1, -1, 1], np.int32)
    dst_port = np.array([80, 80, 502, 65_535, 53, 502, -1, -1, -1, -1, -1, -1])
    icmp = np.array([-1] * 6 + [8, 3, -1] + [-1] * 3)
    code = np.array([-1] * 6 + [0, 3, -1] + [-1] * 3)
    named = [NAMES[number] for number in extractor_services(protocol, src_port, dst_port, icmp, code)]
    expected = ["http", "ftp_data", "other", "private", "domain_u", "other", "eco_i", "urp_i", "oth_i"]
    assert named == [*expected, "other", "other", "other"]
