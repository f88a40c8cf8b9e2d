import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Misconfigured
from pipeline.settings import load_settings
from pipeline.tools.doctor.access import READ, WRITE, Need, needs
from pipeline.tools.doctor.broker_clock import FAIL_S, WARN_S, Skew, judged
from pipeline.tools.doctor.certificate_expiry import DAY_S, certificate_expiry
from pipeline.tools.doctor.disks import DISK_FAIL_BYTES, DISK_WARN_BYTES, disks
from pipeline.tools.doctor.findings import Finding, guarded
from pipeline.tools.doctor.scoring_model import scoring_model


def fails(error: Exception) -> Finding:
    raise error


def test_an_error_of_a_check_is_a_finding() -> None:
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no access"))
    assert "no access" in guarded("access", "warn", lambda: fails(refused)).found
    assert guarded("x", "fail", lambda: fails(Misconfigured("where: got a, expected b"))).verdict == "fail"


def test_a_stage_needs_what_the_table_of_topics_says() -> None:
    wanted = needs(("score",))
    assert Need("score", "features", READ) in wanted and Need("score", "suspects", WRITE) in wanted
    assert Need("score", "score", READ, is_group=True) in wanted
    assert not [need for need in wanted if need.name == "raw"]


@pytest.mark.parametrize(
    ("seconds", "uncertain_s", "verdict"),
    [(0.01, 0.02, "ok"), (-5, 4, "ok"), (5, 1, "warn"), (-5, 1, "warn"), (120, 1, "fail"), (-120, 90, "warn")],
)
def test_a_clock_is_wrong_by_what_the_measurement_cannot_explain(
    seconds: float, uncertain_s: float, verdict: str
) -> None:
    found = judged([Skew(0.0, 0.001), Skew(seconds, uncertain_s)])
    assert found.verdict == verdict
    assert (found.remedy != "") == (verdict != "ok") == (found.expected != "")


@given(st.lists(st.builds(Skew, st.floats(-1e6, 1e6), st.floats(0, 1e3)), min_size=1))
def test_the_worst_clock_decides(skews: list[Skew]) -> None:
    off_s = max(abs(each.seconds) - each.uncertain_s for each in skews)
    assert judged(skews).verdict == ("fail" if off_s > FAIL_S else "warn" if off_s > WARN_S else "ok")
    assert not math.isnan(off_s)


def test_folders_on_one_disk_are_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(free: int) -> list[Finding]:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
        return disks({"state": tmp_path / "not yet", "archive": tmp_path})

    assert shutil.disk_usage(tmp_path).free >= 0
    for free, verdict in ((DISK_WARN_BYTES, "ok"), (DISK_WARN_BYTES - 1, "warn"), (DISK_FAIL_BYTES - 1, "fail")):
        (row,) = rows(free)
        assert row.verdict == verdict and "state, archive" in row.found
        assert bool(row.remedy) == bool(row.expected) == (verdict != "ok")


def test_certificates_are_due_before_they_expire(tmp_path: Path) -> None:
    ca, file = trustme.CA(), tmp_path / "ca.crt"
    ca.cert_pem.write_to_path(file)
    security = {"ssl.ca.location": str(file)}
    (fresh,) = certificate_expiry(security, time.time())
    assert fresh.verdict == "ok" and "valid until" in fresh.found
    from pipeline.runtime.certificates import certificates

    (found,) = certificates(security)
    (due,) = certificate_expiry(security, found.expires_s - 3 * DAY_S)
    (over,) = certificate_expiry(security, found.expires_s + 1)
    assert (due.verdict, over.verdict) == ("warn", "fail") and "expired" in over.found and over.remedy
    (missing,) = certificate_expiry({"ssl.certificate.location": str(tmp_path / "none")}, 0)
    assert missing.verdict == "fail" and "none" in missing.found
    assert certificate_expiry({}, 0) == []


def test_the_shipped_model_is_whole_and_says_which_sensors_it_knows(tmp_path: Path) -> None:
    settings = load_settings(registry_uri=tmp_path)
    model, calibration = scoring_model(settings, "", [("westermo", "left"), ("dam", "weir\x1b[2J")])
    assert model.verdict == calibration.verdict == "ok" and "shipped" in model.found
    assert "for 1 of 2 sensors" in calibration.found and "dam/weir\\x1b[2J" in calibration.found
    assert len(scoring_model(settings, "", [])) == 1


def test_a_model_that_is_not_there_or_reads_other_features_fails(tmp_path: Path) -> None:
    (missing,) = scoring_model(load_settings(registry_uri=tmp_path, model="igan-none"), "", [])
    (promoted,) = scoring_model(load_settings(registry_uri=tmp_path), "igan-gone", [])
    (other,) = scoring_model(load_settings(registry_uri=tmp_path, feature_set="online"), "", [])
    (unknown,) = scoring_model(load_settings(registry_uri=tmp_path, feature_set="nothing"), "", [])
    for found in (missing, promoted, other, unknown):
        assert found.verdict == "fail" and found.remedy and found.expected
    assert "igan-gone" in promoted.found and "online" in other.found
