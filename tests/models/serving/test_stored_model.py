"""A registry in a bucket of a real S3 server: saved, loaded, listed, torn and written again, promoted by score."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.serving import registry
from models.serving.stored_model import StoredModel
from pipeline.alert.manifests import Manifests
from pipeline.contracts.promotions import Promotion
from pipeline.errors import Failed
from pipeline.runtime.storage import object_store
from pipeline.runtime.storage.location import folder_or_storage, open_storage
from pipeline.runtime.storage.object_store import ObjectStore
from pipeline.score.model_cache import ModelCache
from tests.models import tiny
from tests.runtime.storage.bucket import bucket, endpoint
from tests.score.small_model import small_model

__all__ = ["bucket", "endpoint"]


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture
def stored(bucket: str) -> ObjectStore:
    storage = folder_or_storage(bucket, "models")
    assert isinstance(storage, ObjectStore)
    return storage


def test_a_saved_model_comes_back_whole(stored: ObjectStore) -> None:
    model = tiny.model()
    assert registry.list_models(stored) == []
    location = registry.save(model, stored)
    assert str(location).startswith("s3://") and str(location).endswith(model.id)
    again = registry.load(model.id, stored)
    assert again.document == model.document and again.sha256 == model.sha256
    assert all(np.array_equal(again.weights[name], value) for name, value in model.weights.items())
    assert registry.list_models(stored) == [model.id]
    assert registry.verify(model.id, stored)["model"] == model.id
    assert registry.within(stored, model.id) == location


def test_saving_twice_writes_nothing(stored: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.save(tiny.model(), stored)

    def none(*_args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ObjectStore, "replace", none)
    registry.save(tiny.model(), stored)


@pytest.mark.slow
@pytest.mark.parametrize("name", [registry.WEIGHTS, registry.MANIFEST])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, None], ids=["empty", "zeros", "gone"])
def test_a_torn_one_is_refused_and_written_again(stored: ObjectStore, name: str, content: bytes | None) -> None:
    model = tiny.model()
    registry.save(model, stored)
    if content is None:
        stored.delete(f"{model.id}/{name}")
    else:
        stored.replace(f"{model.id}/{name}", content)
    with pytest.raises(RefusedModel):
        registry.load(model.id, stored)
    registry.save(model, stored)
    assert registry.load(model.id, stored).sha256 == model.sha256


@pytest.mark.slow
@pytest.mark.parametrize("dies_after", range(3))
def test_killed_while_it_is_saved_it_is_not_there(
    stored: ObjectStore, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    model, left, replace = tiny.model(), [dies_after], ObjectStore.replace

    def dying(storage: ObjectStore, name: str, data: bytes) -> None:
        if not left[0]:
            raise Died
        left[0] -= 1
        replace(storage, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "replace", dying)
        with pytest.raises(Died):
            registry.save(model, stored)
    assert registry.list_models(stored) == []
    with pytest.raises(RefusedModel, match=r"no manifest\.json"):
        registry.load(model.id, stored)
    registry.save(model, stored)
    assert registry.load(model.id, stored).id == model.id


def test_what_is_too_large_is_not_read(stored: ObjectStore) -> None:
    model = tiny.model()
    registry.save(model, stored)
    stored.replace(f"{model.id}/{registry.MANIFEST}", b" " * (512 * 1024 + 1))
    with pytest.raises(RefusedModel, match="at most"):
        registry.load(model.id, stored)


@pytest.mark.parametrize("uri", ["../x", "/etc", "", "igan-000000000000/x", "igan-XX"])
def test_a_promotion_leads_nowhere_else(stored: ObjectStore, uri: str) -> None:
    with pytest.raises(RefusedModel, match="model's id"):
        registry.within(stored, uri)


def test_the_shipped_model_is_the_packages(stored: ObjectStore) -> None:
    shipped = registry.load("", stored)
    assert registry.load(shipped.id, stored).sha256 == shipped.sha256
    assert registry.locate(shipped.id, stored) == registry.SHIPPED
    assert registry.list_models(stored) == []


def test_a_folder_is_read_from_a_folder_whatever_the_registry_is(stored: ObjectStore, tmp_path: Path) -> None:
    registry.write(tiny.model(), tmp_path / "model")
    assert registry.load(str(tmp_path / "model"), stored).id == tiny.model().id


def test_score_promotes_a_model_from_a_bucket(stored: ObjectStore) -> None:
    first, later = small_model(0), small_model(1)
    for model in (first, later):
        assert isinstance(registry.save(model, stored), StoredModel)
    cache = ModelCache(first.id, stored, "cpu")
    promotion = Promotion("p", later.id, later.sha256, later.id, 5)
    assert cache.unusable(promotion) is None
    assert cache.scorer(promotion).model.id == later.id
    assert cache.ids == [first.id, later.id]
    stored.delete(f"{later.id}/{registry.WEIGHTS}")
    assert "no such file" in (ModelCache(first.id, stored, "cpu").unusable(promotion) or "")


def test_alert_reads_baselines_from_a_bucket(bucket: str, stored: ObjectStore) -> None:
    model = tiny.model()
    registry.save(model, stored)
    assert Manifests(bucket).alert_level_of(model.id, "plant", "sensor") is not None
    assert Manifests(bucket).baseline_of("igan-000000000000") is None


@pytest.mark.slow
def test_a_bucket_that_does_not_answer_is_no_reason_against_a_model(
    stored: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = small_model(0), small_model(1)
    registry.save(first, stored)
    cache = ModelCache(first.id, stored, "cpu")
    monkeypatch.setattr(object_store, "RETRIES", {"max_retries": 0})
    away = open_storage("s3://plant/models?endpoint=http://127.0.0.1:9&region=us-east-1", "models")
    monkeypatch.setattr(cache, "_folder", away)
    # A vote against the promotion would be for good: score ends instead, and its successor votes.
    with pytest.raises(Failed, match="check the endpoint"):
        cache.unusable(Promotion("p", later.id, later.sha256, later.id, 5))
    with pytest.raises(Failed, match="check the endpoint"):
        Manifests(away).baseline_of(later.id)
