import math
import time
from pathlib import Path

import pytest
import trustme

from pipeline.retrain import fitted
from pipeline.retrain.worker import FITTED_OUTCOMES
from pipeline.runtime.telemetry import start
from pipeline.runtime.telemetry.resources import FOLDERS, free_bytes
from pipeline.settings import load_settings
from tests.k8s.policies import FOLDERS as MOUNTED


def test_a_stage_reports_the_disks_of_the_folders_it_writes(tmp_path: Path) -> None:
    folders = {setting: tmp_path / "not-yet" / setting for setting in ("state_uri", "archive_uri", "samples_uri")}
    for stage, written in FOLDERS.items():
        worker = start(stage, load_settings(metrics_port=-1, registry_uri="s3://bucket/models?region=x", **folders))
        found = {
            folder: worker.registry.get_sample_value("forebay_disk_free_bytes", {"stage": stage, "folder": folder})
            for folder in written
        }
        worker.close()
        assert found.pop("models", None) is None, "a bucket has no disk of ours"
        assert found and all(value is not None and value > 0 for value in found.values())


def test_the_folders_are_those_that_the_manifests_let_a_stage_write() -> None:
    written = {
        stage: {setting.removeprefix("FOREBAY_").lower() for setting, writes in mounted if writes}
        for stage, mounted in MOUNTED.items()
    }
    assert {stage: set(each.values()) for stage, each in FOLDERS.items()} == {k: v for k, v in written.items() if v}


def test_what_the_system_does_not_say_is_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_path: Path) -> None:
        raise OSError

    monkeypatch.setattr("shutil.disk_usage", refuse)
    assert math.isnan(free_bytes(tmp_path))


def test_a_certificate_counts_down(tmp_path: Path) -> None:
    ca, file = trustme.CA(), tmp_path / "ca.crt"
    ca.cert_pem.write_to_path(file)
    security = {"security.protocol": "ssl", "ssl.ca.location": str(file)}
    worker = start("score", load_settings(metrics_port=-1, security=security))
    labels = {"stage": "score", "certificate": "authority"}
    left_s = worker.registry.get_sample_value("forebay_certificate_expiry_seconds", labels)
    worker.close()
    assert left_s is not None and left_s > 86_400


def test_a_certificate_that_cannot_be_read_stops_no_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    security = {"security.protocol": "ssl", "ssl.certificate.location": str(tmp_path / "none.crt")}
    worker = start("score", load_settings(metrics_port=-1, security=security))
    worker.close()
    assert worker.registry.get_sample_value("forebay_certificate_expiry_seconds", {"stage": "score"}) is None


def test_readiness_and_start_are_metrics_too() -> None:
    worker = start("alert", load_settings(metrics_port=-1))
    stage = {"stage": "alert"}
    assert worker.registry.get_sample_value("forebay_ready", stage) == 0
    worker.ready()
    assert worker.registry.get_sample_value("forebay_ready", stage) == 1
    started_s = worker.registry.get_sample_value("forebay_start_time_seconds", stage)
    worker.close()
    assert started_s == pytest.approx(time.time(), abs=60)


def test_every_outcome_of_a_fit_is_there_from_the_start() -> None:
    outcomes = (fitted.WAITING, fitted.CALIBRATED, fitted.PASSED, fitted.REFUSED, fitted.PROMOTED, fitted.WITHDRAWN)
    assert (*outcomes, "failed") == FITTED_OUTCOMES
