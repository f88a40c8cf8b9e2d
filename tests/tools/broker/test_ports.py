"""A port for a server: free, and none that Linux gives to clients."""

from pathlib import Path

import pytest

from pipeline.tools.broker import ports


def test_it_is_none_that_a_client_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "range"
    said.write_text("20000\t60999\n")
    monkeypatch.setattr(ports, "CLIENTS_RANGE", said)
    found = [ports.free_port() for _ in range(50)]
    assert all(ports.LOWEST <= port < 20_000 and ports.is_free(port) for port in found)
    assert len(set(found)) > 10, "two who look at once seldom find the same"


@pytest.mark.parametrize("said", [None, "1024\t60999\n", "15100 60999", "nothing", ""])
def test_where_too_few_are_left_or_none_is_known_any_free_one_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.setattr(ports, "CLIENTS_RANGE", tmp_path / "range")
    if said is not None:
        (tmp_path / "range").write_text(said)
    port = ports.free_port()
    assert ports.is_free(port) and ports.free_port(but=port) != port
