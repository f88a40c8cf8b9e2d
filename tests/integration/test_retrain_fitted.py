"""A sensor that was anchored gets the full detector, or is told why not: on a real broker, by the worker itself."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from models.serving import registry
from models.serving.model import Model
from pipeline.contracts.baseline import Phase
from pipeline.retrain import fitted_records, samples
from pipeline.retrain.fitted import fit
from pipeline.retrain.samples import SampleRange
from pipeline.runtime.kafka import clients
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings, inherited_environment
from pipeline.tools import promotion
from tests.commands import forebay
from tests.crash.flow import everything_below
from tests.integration.chains import ROOT, settings_for, wait_for, worker
from tests.integration.test_retrain_worker import wait_for_rows
from tests.patience import PATIENCE_S
from tests.retrain.small_training import ATTACK, FEATURES, START_US, facts
from tests.retrain.small_training import samples as scored_rows
from tests.retrain.usual_samples import BEGAN_US, HOUR_US, HOURS, ORIGIN, ROWS, SENSOR, model, of_table, usual_rows

pytestmark = pytest.mark.integration
RETRAIN = "pipeline.tools.cli retrain run --no-base --every 0"
MESSAGES = 24
EACH = ROWS // MESSAGES


@pytest.fixture(scope="module")
def current() -> Model:
    return model()


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path, current: Model) -> Settings:
    uris = everything_below(tmp_path)
    registry.save(current, folder_or_storage(uris["registry_uri"], "models"))
    return settings_for(
        kafka,
        prefix,
        tmp_path / "state",
        registry_uri=uris["registry_uri"],
        samples_uri=uris["samples_uri"],
        model=current.id,
        device="cpu",
        fitted_calibrations="promote",
    )


def send(settings: Settings, rows: pa.RecordBatch, numbers: range, first_seq: int = 0) -> None:
    """Put the messages of these numbers into `retrain` as score does, partition 1 without rows."""
    producer = clients.transactional_producer(settings, "test")
    producer.begin_transaction()
    for number in numbers:
        for partition, batch in enumerate((rows.slice(number * EACH, EACH), rows.slice(0, 0))):
            value = write(batch, facts(first_seq + number, partition, batch))
            producer.produce(settings.topics.retrain, value, partition=partition)
    producer.commit_transaction()


@contextmanager
def retrain(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with worker(settings, RETRAIN, log=log) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def fitted_in(log: Path) -> list[dict[str, Any]]:
    """What the worker said of fitted calibrations."""
    lines = [orjson.loads(line) for line in log.read_text().splitlines() if '"calibration fitted"' in line]
    return [{name: line[name] for name in ("sensor", "outcome", "candidate", "against")} for line in lines]


def test_anchored_fitted_compared_and_promoted_whoever_is_killed(
    settings: Settings, current: Model, tmp_path: Path
) -> None:
    rows, log = usual_rows(), tmp_path / "log"
    send(settings, rows, range(10))  # learning, and some of the settling
    with worker(settings, RETRAIN, log=log) as process:
        wait_for_rows(settings, 10 * EACH)
        process.kill()
    assert not fitted_in(log)
    send(settings, rows, range(10, MESSAGES))
    send(settings, rows, range(MESSAGES))  # read twice
    with worker(settings, "pipeline.tools.cli score run", log=tmp_path / "score"), retrain(settings, log):
        wait_for(log, '"calibration fitted"')
    [said] = fitted_in(log)
    assert (said["sensor"], said["outcome"], said["against"]) == (ORIGIN, "promoted", [])
    promoted = registry.load(said["candidate"], folder_or_storage(settings.registry_uri))
    assert promotion.current(settings) == promoted.id
    assert promoted.document["parent"] == current.id and promoted.fitted == {ORIGIN}
    stored = samples.read(settings.samples_uri, promoted.document["feature_hash"])
    assert stored.column("raw_offset").to_pylist() == list(range(1000, 1000 + ROWS))
    record = fitted_records.records(settings.samples_uri)[ORIGIN]
    assert (record["candidate"], record["outcome"]) == (promoted.id, "promoted")
    assert record["at_us"] == rows.column("end_ts_us")[-1].as_py()
    # Rows of the next hours change nothing; a day later it is looked at again, and found calibrated.
    later = usual_rows(EACH, 5, 1.0, 1.0, phase=[int(Phase.ANCHORED)] * EACH, raw_offset=np.arange(9000, 9000 + EACH))
    send(settings, moved(later, HOURS + 10), range(1), MESSAGES)
    with retrain(settings, log):
        deadline = time.monotonic() + PATIENCE_S
        while samples.read(settings.samples_uri, promoted.document["feature_hash"]).num_rows < ROWS + EACH:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert len(fitted_in(log)) == 1
    send(settings, moved(later, HOURS + 30), range(1), MESSAGES + 1)
    with retrain(settings, log):
        wait_for(log, '"calibrated"')
    assert [each["outcome"] for each in fitted_in(log)] == ["promoted", "calibrated"]
    assert promotion.current(settings) == promoted.id


def test_one_that_would_show_what_is_usual_is_refused_and_its_reason_is_on_record(
    settings: Settings, current: Model, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    send(settings, usual_rows(odd_from=0.8), range(MESSAGES))
    with retrain(settings, log):
        wait_for(log, '"calibration fitted"')
    [said] = fitted_in(log)
    assert said["outcome"] == "refused"
    assert "of the flows that the baseline does not show would be suspects" in said["against"][0]
    assert promotion.current(settings) == ""
    assert registry.list_models(Path(settings.registry_uri)) == [current.id]
    record = fitted_records.records(settings.samples_uri)["/".join(SENSOR)]
    assert record["against"] == said["against"] and record["comparison"]["added"] > 50


def test_by_default_one_that_passes_is_told_and_not_promoted_and_off_is_off(
    settings: Settings, current: Model, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    off, compare = (settings.model_copy(update={"fitted_calibrations": each}) for each in ("off", "compare"))
    assert Settings.model_fields["fitted_calibrations"].default == "compare"
    send(settings, usual_rows(), range(MESSAGES - 1))
    with retrain(off, log):
        wait_for_rows(settings, ROWS - EACH)
    assert not fitted_in(log) and not fitted_records.records(settings.samples_uri)
    send(settings, usual_rows(), range(MESSAGES - 1, MESSAGES))
    with retrain(compare, log):
        wait_for(log, '"calibration fitted"')
    [said] = fitted_in(log)
    assert (said["outcome"], said["against"]) == ("passed", [])
    assert registry.list_models(Path(settings.registry_uri)) == [current.id]
    assert promotion.current(settings) == ""


def moved(rows: pa.RecordBatch, hours: int) -> pa.RecordBatch:
    """The same rows so many hours later."""
    for name in ("start_ts_us", "end_ts_us"):
        at = rows.schema.get_field_index(name)
        values = rows.column(name).to_numpy() + hours * HOUR_US
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
    assert rows.column("end_ts_us")[0].as_py() > START_US
    return rows


def keep(settings: Settings, *batches: pa.RecordBatch) -> None:
    """Samples as the worker writes them."""
    for number, batch in enumerate(batches):
        samples.write(settings.samples_uri, [batch], SampleRange(0, number, number, FEATURES.hash))


def command(settings: Settings, *words: str) -> tuple[int, dict[str, Any], str]:
    """A command's exit code, JSON document and what it said."""
    done = forebay("retrain", *words, environment=inherited_environment(settings.variables()))
    return done.code, orjson.loads(done.stdout.splitlines()[-1]), " ".join(done.stderr.split())


@pytest.fixture
def champion(settings: Settings, current: Model) -> tuple[Settings, Model]:
    """Settings with a model in use that has a calibration fitted for the sensor."""
    made = fit(current, SENSOR, of_table(usual_rows()), BEGAN_US).model
    assert made is not None
    registry.save(made, folder_or_storage(settings.registry_uri, "models"))
    return settings.model_copy(update={"model": made.id}), made


def test_one_of_a_plant_that_is_no_more_is_withdrawn_where_no_new_one_passes(
    champion: tuple[Settings, Model], tmp_path: Path
) -> None:
    settings, fitted = champion
    again = moved(usual_rows(seed=5, odd_from=0.8, raw_offset=np.arange(9000, 9000 + ROWS)), HOURS)
    keep(settings, usual_rows(), again)
    with worker(settings, "pipeline.tools.cli score run", log=tmp_path / "score"):
        wait_for(tmp_path / "score", '"ready"')
        code, document, said = command(settings, "fit", ORIGIN, "--promote")
    assert (code, document["outcome"]) == (0, "withdrawn"), (document, said)
    assert "the baseline decides alone (" in said and "flows an hour" in said
    left = registry.load(promotion.current(settings), folder_or_storage(settings.registry_uri))
    assert left.document["parent"] == fitted.id and not left.fitted
    record = fitted_records.records(settings.samples_uri)[ORIGIN]
    assert (record["outcome"], record["at_us"]) == ("withdrawn", again.column("end_ts_us")[-1].as_py())


def test_a_newly_trained_candidate_has_the_fitted_calibrations_too(
    champion: tuple[Settings, Model], tmp_path: Path
) -> None:
    settings, fitted = champion
    labelled = scored_rows(1_800, seed=7)
    keep(settings, labelled, moved(usual_rows(raw_offset=np.arange(9000, 9000 + ROWS)), 0))
    lines = [f"plant,left,{row},{'normal' if row % 8 else ATTACK}" for row in range(1_800)]
    (tmp_path / "labels.csv").write_text("\n".join(["site,sensor,source_record,label", *lines]) + "\n")
    _, document, said = command(settings, "now", "--no-base", "--labels", str(tmp_path / "labels.csv"))
    assert not any("not calibrated for" in reason for reason in document["comparison"]["against"]), said
    candidate = registry.load(document["candidate"], folder_or_storage(settings.registry_uri))
    assert candidate.fitted == fitted.fitted == {ORIGIN}
    quiet = [model.document["calibration"][ORIGIN]["quiet"] for model in (candidate, fitted)]
    assert quiet[0]["rows"] == quiet[1]["rows"] and quiet[0]["to_us"] == quiet[1]["to_us"]


@pytest.mark.parametrize("name", ["edge", "a/b/c", "new/", "new/a b"])
def test_a_name_that_is_none_is_refused_with_what_is_expected(settings: Settings, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.tools.cli", "retrain", "fit", name],
        env=inherited_environment(settings.variables()),
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2 and "expected SITE/SENSOR" in " ".join(done.stderr.decode().split())
