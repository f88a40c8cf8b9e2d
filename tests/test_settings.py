import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from pipeline.settings import load_settings


def show(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.tools.cli", "config", "show", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_options_win_over_defaults_and_none_means_not_given() -> None:
    settings = load_settings(partitions=7, bootstrap=None)
    assert settings.partitions == 7
    assert settings.topics.raw == f"{settings.topic_prefix}raw"


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_settings().partitions = 3


@pytest.mark.parametrize(("name", "value"), [("partitions", 0), ("device", "tpu"), ("topic_prefix", "a/b")])
def test_an_impossible_value_is_named_with_its_variable(name: str, value: object) -> None:
    with pytest.raises(Misconfigured, match=f"FOREBAY_{name.upper()}"):
        load_settings(**{name: value})


def test_lateness_is_a_setting_per_site() -> None:
    settings = load_settings(lateness_us=5, site_lateness_us={"a": 0})
    assert (settings.lateness_of("a"), settings.lateness_of("b")) == (0, 5)


@pytest.mark.slow
def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("partitions: 3\nlateness_us: 9\n")
    done = show(FOREBAY_CONFIG=str(file), FOREBAY_LATENESS_US="1")
    assert '"partitions":3' in done.stdout
    assert '"lateness_us":1,' in done.stdout


@pytest.mark.slow
def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("partitons: 3\n")
    done = show(FOREBAY_CONFIG=str(file))
    assert done.returncode == 78
    assert "partitons" in done.stderr


@pytest.mark.slow
def test_secrets_are_not_shown() -> None:
    names = '"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "me"'
    done = show(FOREBAY_SECURITY=f'{{{names}, "sasl.password": "hunter2"}}')
    assert "hunter2" not in done.stdout + done.stderr
    assert '"sasl.username":"***"' in done.stdout


@pytest.mark.slow
def test_settings_reach_a_child_process_as_variables() -> None:
    given = load_settings(partitions=3, site_lateness_us={"a": 1}, state_uri=Path("here"), metrics_port=0)
    done = show(**given.variables())
    assert '"partitions":3' in done.stdout
    assert '"site_lateness_us":{"a":1}' in done.stdout
    assert '"state_uri":"here"' in done.stdout


@pytest.mark.parametrize("bootstrap", ["", "a:b", "a:9092,", "a:9092 b:9092", "a:9092,,b", "http://a/b:1"])
def test_an_address_of_kafka_that_is_none_is_refused(bootstrap: str) -> None:
    with pytest.raises(Misconfigured, match="HOST:PORT"):
        load_settings(bootstrap=bootstrap)


@pytest.mark.parametrize("bootstrap", ["a:9092", "kafka", "a:1, b:2", "[::1]:9092", "SASL_SSL://a.example:9093"])
def test_addresses_of_kafka_are_what_its_client_takes(bootstrap: str) -> None:
    assert load_settings(bootstrap=bootstrap).bootstrap == bootstrap
