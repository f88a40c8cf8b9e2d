"""The page of formats: what it tells readers outside to do, done on messages of every topic it speaks of."""

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from models.serving import registry
from pipeline.contracts.envelope import RejectsFacts
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.wire.batches import blank_row, decode
from pipeline.runtime.wire.messages import write
from pipeline.score.group import encoded, read, score_group
from pipeline.score.model_cache import ModelCache
from tests.contract.tree import ROOT
from tests.contracts.facts import at, flows_facts
from tests.score.small_model import facts, features, small_model

PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
SCHEMAS = {
    topic: table["schema"]
    for topic, table in tomllib.loads((ROOT / "schemas/topics.toml").read_text(encoding="utf-8")).items()
    if (ROOT / f"schemas/{table['schema'][:40]}.toml").exists()
}


def snippet(before: str) -> str:
    """The indented block of the page behind a paragraph that ends so."""
    found = re.search(re.escape(before) + r"\n\n((?:    .*\n)+)", PAGE)
    assert found is not None, before
    return textwrap.dedent(found[1])


@pytest.fixture(scope="module", params=[0, 40])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A message of each topic, of so many rows (rejects and flows: one or none), as the stages write them."""
    folder: Path = tmp_path_factory.mktemp("models")
    model = small_model()
    registry.save(model, folder)
    batch = features(40).slice(0, request.param)
    value = write(batch, facts(3, 0, batch))
    message = read(value, at("features"))
    [routed] = score_group([message], PromotionLedger(1), ModelCache(model.id, folder, "cpu"))
    suspects, archive, retrain = encoded(routed, message)
    return {
        "flows": write(blank_row("flow").slice(0, request.param), flows_facts()),
        "rejects": write(blank_row("reject").slice(0, request.param), RejectsFacts(raw_partition=0)),
        "features": value,
        "suspects": suspects,
        "archive": archive,
        **({"retrain": retrain} if retrain is not None else {}),
    }


def test_the_lines_that_read_a_message_read_one_of_every_topic(written: dict[str, bytes]) -> None:
    assert {"flows", "rejects", "features", "suspects", "archive", "retrain"} == SCHEMAS.keys() >= written.keys()
    lines = snippet("In Python:")
    for topic, value in written.items():
        known: dict[str, Any] = {"value": value}
        exec(lines, known)  # noqa: S102 - the page's own lines
        rows, stated = decode(value, SCHEMAS[topic])
        assert known["facts"] == stated
        columns = {
            name: column
            for batch in known["batches"]
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        assert columns.keys() == set(rows.schema.names)
        assert all(column.equals(rows.column(name)) for name, column in columns.items()), topic
        assert f"`{topic}`" in PAGE.partition("the value is the message's columns")[0].rpartition("\n\n")[2]


def test_one_of_archive_has_batches_side_by_side(written: dict[str, bytes]) -> None:
    known: dict[str, Any] = {"value": written["archive"]}
    exec(snippet("In Python:"), known)  # noqa: S102 - the page's own lines
    assert len(known["batches"]) == 2
