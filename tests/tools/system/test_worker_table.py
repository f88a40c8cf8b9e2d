"""Which workers a box needs follows from its settings."""

from pipeline.settings import load_settings
from pipeline.tools.system.worker_table import rows_for

OUTPUT = {"name": "disk", "file": "/var/log/alerts.ndjson"}


def test_outputs_have_a_worker_where_there_are_some() -> None:
    assert "output" not in [row.name for row in rows_for(load_settings())]
    assert rows_for(load_settings(outputs=[OUTPUT]))[-1].name == "output"
