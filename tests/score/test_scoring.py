from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.igan.known_classes import KnownClasses
from models.rows import Floats, Ints, Mask
from models.serving import registry
from models.serving.model import Model, finish
from pipeline.contracts.envelope import ScoredFacts
from pipeline.contracts.preconditions import Preconditions, read_preconditions
from pipeline.contracts.promotions import Promotion, PromotionLedger, vote
from pipeline.errors import Misconfigured, RefusedState, SchemaMismatch
from pipeline.runtime.telemetry import Telemetry
from pipeline.runtime.wire import messages
from pipeline.runtime.wire.messages import write
from pipeline.score import worker
from pipeline.score.device import choose_device
from pipeline.score.group import encoded, expect_features, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.score.scoring import score_batches
from pipeline.settings import load_settings
from tests.contracts.facts import at
from tests.examples import examples
from tests.score.small_model import WIDTH, facts, features, small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("registry")
    for seed in range(4):
        registry.save(small_model(seed), made)
    registry.save(small_model(9, feature_hash="0dd5" * 16), made)
    return made


@pytest.fixture(scope="module")
def cache(folder: Path) -> ModelCache:
    return ModelCache(small_model(0).id, folder, "cpu")


def promotion(seed: int, from_us: int, name: str = "p") -> Promotion:
    model = small_model(seed)
    return Promotion(f"{name}{seed}", model.id, model.sha256, model.id, from_us)


def holding(*promotions: Promotion) -> PromotionLedger:
    ledger = PromotionLedger(1)
    for each in promotions:
        record = {
            "kind": "promotion",
            "promotion": each.id,
            "model": each.model,
            "sha256": each.sha256,
            "uri": each.uri,
        }
        ledger.apply({**record, "effective_from_us": each.effective_from_us})
        ledger.apply(vote(each, 0, 1, -1))
    return ledger


@pytest.mark.slow
def test_rows_keep_their_order_and_columns(cache: ModelCache) -> None:
    batches = [features(5), features(0), features(1500, first_offset=5)]
    scored = score_batches(batches, PromotionLedger(1), cache)
    for before, after in zip(batches, scored, strict=True):
        assert after.num_rows == before.num_rows
        for name in before.schema.names:
            assert after.column(name).equals(before.column(name))
        assert set(after.column("model").to_pylist()) <= {cache.first.model.id}
        suspects = after.filter(after.column("suspect"))
        assert "normal" not in suspects.column("class").to_pylist()
        assert suspects.column("nearest_class").null_count < max(1, suspects.num_rows)
        assert set(suspects.column("nearest_class").drop_null().to_pylist()) <= set(cache.first.model.classes)
        after.validate(full=True)
    assert 0 < sum(after.column("suspect").to_pylist().count(True) for after in scored) < 1505


def known_everywhere(seed: int) -> Model:
    """The small model, as if it knew every class wherever a row lies."""
    model = small_model(seed)
    count = len(model.classes)
    radius = np.full(count, 1e9, np.float32)
    known = KnownClasses(
        np.zeros((count, WIDTH), np.float32), np.arange(count + 1), radius, np.zeros(count, np.float32)
    )
    document = {name: value for name, value in model.document.items() if name not in ("id", "weights_sha256")}
    return finish(document | {"known": known.document(model.classes)}, {**model.weights, **known.tensors})


def test_a_name_takes_that_the_class_is_known_and_that_no_field_contradicts_it(tmp_path: Path) -> None:
    batch = features(1500)
    nowhere, everywhere = small_model(1), known_everywhere(1)
    for model in (nowhere, everywhere):
        registry.save(model, tmp_path)
    caches = [ModelCache(model.id, tmp_path, "cpu") for model in (nowhere, everywhere)]
    [[unknown], [freely], [strictly]] = (
        score_batches([batch], PromotionLedger(1), models, conditions)
        for models, conditions in ((caches[0], Preconditions({})), (caches[1], Preconditions({})), (caches[1], None))
    )
    suspect = np.array(freely.column("suspect").to_pylist())
    free = np.array(freely.column("class").to_pylist())
    named = ~np.isin(free, ("normal", "unknown"))
    assert named.any()
    # Where no field says anything, nothing is called by a name that needs one to say something.
    assert set(strictly.column("class").to_pylist()) <= {"normal", "unknown"}
    assert set(unknown.column("class").to_pylist()) == {"normal", "unknown"}
    nearest = np.array(unknown.column("nearest_class").to_pylist())
    assert np.array_equal(nearest[suspect & named], free[suspect & named])


@pytest.mark.slow
@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.integers(0, 1300), max_size=5))
def test_a_row_gets_the_same_bits_for_any_split(cache: ModelCache, cuts: list[int]) -> None:
    whole = features(1300)
    edges = sorted({0, 1300, *cuts})
    parts = [whole.slice(first, last - first) for first, last in pairwise(edges)]
    together = score_batches([whole], PromotionLedger(1), cache)[0]
    one_group = score_batches(parts, PromotionLedger(1), cache)
    one_by_one = [score_batches([part], PromotionLedger(1), cache)[0] for part in parts]
    for divided in (one_group, one_by_one):
        assert pa.Table.from_batches(divided).combine_chunks().equals(pa.Table.from_batches([together]))


def test_each_row_gets_the_model_its_event_time_names(cache: ModelCache) -> None:
    times = [10, 99, 100, 50, 200, 199, 5000]
    ledger = holding(promotion(1, 100), promotion(2, 200))
    batch = features(len(times), end_ts_us=times)
    scored = score_batches([batch], ledger, cache)[0]
    first, second, third = (small_model(seed).id for seed in range(3))
    assert scored.column("model").to_pylist() == [first, first, second, first, third, second, third]
    for seed in range(3):  # and its bits are those of that model alone
        alone = score_batches([batch], holding(promotion(seed, 0)), cache)[0]
        is_own = np.array(scored.column("model").to_pylist()) == small_model(seed).id
        assert np.array_equal(scored.column("score").to_numpy()[is_own], alone.column("score").to_numpy()[is_own])
    assert len(cache.ids) <= 3


def test_no_flow_waits_for_a_models_first_forward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    known = KnownClasses.known

    def counted(classes: KnownClasses, z: Floats, probability: Floats, class_index: Ints) -> Mask:
        rows.append(len(z))
        return known(classes, z, probability, class_index)

    monkeypatch.setattr(KnownClasses, "known", counted)
    cache = ModelCache(small_model(0).id, folder, "cpu")
    assert len(rows) == 1
    assert cache.unusable(promotion(1, 1)) is None
    assert len(rows) == 2


def test_a_promotion_of_a_model_of_an_earlier_version_says_how_another_one_scores(tmp_path: Path) -> None:
    registry.save(small_model(0), tmp_path)
    path = registry.save(small_model(1), tmp_path) / registry.MANIFEST
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"version": 1}))
    cache = ModelCache(small_model(0).id, tmp_path, "cpu")
    assert "version 1, expected version 2" in str(cache.unusable(promotion(1, 1)))
    with pytest.raises(RefusedState, match=f"for {small_model(0).id} to score instead, empty the topic"):
        cache.scorer(promotion(1, 1))


def test_a_mistake_in_the_preconditions_shows_before_there_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken() -> Preconditions:
        return read_preconditions("[class.probe]\nmust = 1\n")

    monkeypatch.setattr(worker, "shipped", mistaken)
    config = load_settings(metrics_port=-1)
    with pytest.raises(Misconfigured, match=r"class\.probe\.must"):
        worker.load_model(config, Telemetry("score", config))


def test_unusable_models_are_refused_with_the_reason(cache: ModelCache, folder: Path) -> None:
    good = promotion(1, 100)
    assert cache.unusable(good) is None
    assert "igan-000000000000" in str(cache.unusable(replace(good, model="igan-000000000000", uri="igan-000000000000")))
    assert "expected" in str(cache.unusable(replace(promotion(3, 1), sha256="00")))
    assert cache.unusable(replace(promotion(3, 1), uri="../elsewhere")) is not None
    other = small_model(9, feature_hash="0dd5" * 16)
    reason = cache.unusable(Promotion("x", other.id, other.sha256, other.id, 1))
    assert reason is not None
    assert "0dd5" in reason
    assert "5a11" in reason


def test_a_model_that_holds_and_is_gone_stops_the_worker(cache: ModelCache) -> None:
    gone = Promotion("p", "igan-000000000000", "", "igan-000000000000", 0)
    with pytest.raises(RefusedState, match="put it into"):
        cache.scorer(gone)


def test_a_first_model_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured, match="igan-000000000000"):
        ModelCache("igan-000000000000", Path("/nowhere"), "cpu")


def test_other_features_are_refused_with_both_names(cache: ModelCache) -> None:
    other = facts(0, 0, features(1), "beef" * 16, "other")
    with pytest.raises(SchemaMismatch, match=r"features\[0\]@7: .*small.*other"):
        expect_features(cache, other, "features[0]@7")
    expect_features(cache, facts(0, 0, features(1)), "features[0]@7")


def test_a_group_from_bytes_to_bytes(cache: ModelCache) -> None:
    batch = features(40)
    message = read(write(batch, facts(3, 0, batch)), at("features"))
    assert (message.seq, message.until_us) == (3, 1_000_000 + 39_000)
    assert read(write(batch.slice(0, 0), facts(4, 0, batch)), at("features")).until_us == -1
    [routed] = score_group([message], PromotionLedger(1), cache)
    payloads = encoded(routed, message)
    for payload, sent in zip(payloads, routed, strict=True):
        assert payload is not None
        got, stated = messages.read(payload, ScoredFacts, at("suspects"))
        assert got.to_pydict() == sent.to_pydict()
        assert stated == ScoredFacts.of(message.facts)


def test_without_samples_retraining_gets_no_message(cache: ModelCache) -> None:
    batch = features(40).slice(0, 0)
    message = read(write(batch, facts(3, 0, batch)), at("features"))
    [routed] = score_group([message], PromotionLedger(1), cache)
    suspects, archive, retrain = encoded(routed, message)
    assert retrain is None
    for payload in (suspects, archive):
        got, stated = messages.read(payload, ScoredFacts, at("suspects"))
        assert got.num_rows == 0 and stated == ScoredFacts.of(message.facts)


def test_the_device_is_chosen_in_words() -> None:
    assert choose_device("cpu") == ("cpu", "as set")
    device, why = choose_device("auto")
    assert why.startswith("auto: ")
    if device == "cpu":
        with pytest.raises(Misconfigured, match="--device cpu"):
            choose_device("cuda")
