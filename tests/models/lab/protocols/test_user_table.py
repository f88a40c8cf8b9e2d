import pickle
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.protocols.user_table import UserTable
from tests.models.lab.protocols.small import Remembering, family

FAMILY = family(Remembering())


def write(path: Path, seed: int, attacks: tuple[str, ...], repeat: list[str] | None = None, n: int = 200) -> list[str]:
    """Records with a size that separates attacks; their lines without the header."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(n):
        label = "BENIGN" if number % 3 else attacks[number // 3 % len(attacks)]
        size = random.normal(0 if label == "BENIGN" else 8)
        lines.append(f"{size:.6f},{'tcp' if number % 2 else 'udp'},{label}")
    path.write_text("\n".join(["size,proto,label", *lines, *(repeat or [])]) + "\n")
    return lines


def plan(folder: Path, drop: tuple[str, ...] = ()) -> UserTable:
    return UserTable(folder / "a.csv", folder / "b.csv", "label", "BENIGN", drop, (FAMILY,), 2)


def test_binary_and_by_label(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, ("dos", "scan"))
    write(tmp_path / "b.csv", 1, ("dos", "worm"))
    protocol = pickle.loads(pickle.dumps(plan(tmp_path)))  # noqa: S301
    units = protocol.units()
    assert [(unit.seed, unit.task) for unit in units] == [(0, "binary"), (0, "attack"), (1, "binary"), (1, "attack")]
    binary, classes = protocol.document(units[0]), protocol.document(units[1])
    assert set(binary["tests"]) == {"b"} and binary["nominal"]
    assert binary["tests"]["b"]["ranking"]["auroc"] > 0.9
    assert binary["tests"]["b"]["novel"]["novel_rows"] > 0  # the worm
    assert {"normal", "dos"} <= set(classes["tests"]["b"]["classes"]["recall"])
    assert classes["task"] == "attack"


def test_one_kind_of_attack_needs_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, ("dos",))
    write(tmp_path / "b.csv", 1, ("dos",))
    assert {unit.task for unit in plan(tmp_path).units()} == {"binary"}


def test_records_of_training_are_judged_apart(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.csv", 0, ("dos", "scan"))
    write(tmp_path / "b.csv", 1, ("dos", "scan"), repeat=lines[:50])
    protocol = plan(tmp_path)
    train, tests, notes = protocol.tables()
    assert len(train) == 200 and [len(test) for test in tests] == [250, 200]
    assert [test.name for test in tests] == ["b", "b, without records of training"]
    assert any("50 of 250 records repeat" in note for note in notes)
    assert protocol.document(protocol.units()[0])["notes"] == list(notes)


def test_the_training_table_is_no_test(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, ("dos",))
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(RefusedModel, match="the training table itself"):
        plan(tmp_path).units()
    (tmp_path / "b.csv").unlink()
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    _, tests, notes = plan(tmp_path, ("proto",)).tables()
    assert (
        len(tests) == 1 and "b.csv: 200 of 200 records repeat a training record" in notes
    )  # a copy is judged, and reported
