import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.report import documents, iiot, nsl_kdd_cv
from models.lab.report.report import SECTIONS, write
from models.lab.significance import corrected_t
from tests.models.lab.report import made_up

FEW = ("igan-ids", "lightgbm", "svm", "mahalanobis")


def made(protocol: str, models: tuple[str, ...] = FEW) -> list[dict[str, Any]]:
    return made_up.EVERY[protocol]() if protocol == "controls" else made_up.EVERY[protocol](models)


@pytest.mark.slow  # drawing is
@pytest.mark.parametrize("protocol", SECTIONS)
def test_every_protocol_has_a_report(protocol: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    done = write(made_up.store(tmp_path, made(protocol)))
    assert dict(mpl.rcParams) == before
    assert done["protocol"] == protocol
    assert all((tmp_path / name).stat().st_size for name in done["files"])
    words = (tmp_path / "report.md").read_text(encoding="utf-8")
    tables = words.count("\n|---|")
    assert tables >= 1
    # the head says what made it, every table what it rests on
    assert " ".join(words.split()).count(f"forebay model evaluate --protocol {protocol}") == 1
    assert len(re.findall(r"<sub>\d+ of \d+ fits</sub>", words)) == tables
    prose = " ".join(words.split())  # lines of prose are wrapped
    assert prose.count("2 cores, some processor · " + made_up.DATE) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert sum(len(section["tables"]) for section in report["sections"]) == tables
    assert report["results"]
    if protocol != "controls":
        assert report["reductions"] == {"svm": made_up.REDUCED["svm"]}
        assert words.count("¹ fitted to 20,000 records") == words.count("Kernel SVM¹")
        assert "Kernel SVM¹" in words


def test_what_was_chosen_remarks_and_fewer_fits_are_shown(tmp_path: Path) -> None:
    fits = made_up.table(("igan-ids", "lightgbm"))
    for fit in fits:
        fit["notes"] = ["column a|b: 3 empty"]
        if fit["model"] == "igan-ids":
            worth = {"worth": fit["seed"] == 0, "auroc": None}
            chosen = {"chosen": "closeness", "merit": {"closeness": 0.9}, "teacher": worth}
            fit["settled"] = {"known": 0.5 + fit["seed"], "unknown": None, **chosen}
    expected = {"igan-ids": {"binary": 2, "attack": 2}, "lightgbm": {"binary": 1, "attack": 1}}
    write(made_up.store(tmp_path, fits, expected), pictures=False)
    words = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert words.count("column a\\|b: 3 empty") == 1
    assert (
        "| igan-ids | train-test | binary | 1.0000 ± 0.7071 | – | closeness (2) | yes (1); no (1) | 2 |"
        in words.replace("IGAN-IDS", "igan-ids")
    )
    assert "takes part in 1 of 2 fits" in words


@pytest.mark.slow
def test_the_same_fits_give_the_same_bytes(tmp_path: Path) -> None:
    fits = made("unknowns")
    first, second = (made_up.store(tmp_path / name, fits) for name in ("one", "two"))
    files = write(first)["files"]
    write(second)
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_partial_run_says_so(tmp_path: Path) -> None:
    expected = {"igan-ids": {"binary": 8}, "lightgbm": {"binary": 8}, "dbm": {"binary": 4}}
    fits = made_up.nsl_kdd_cv(("igan-ids", "lightgbm"))[:13]
    done = write(made_up.store(tmp_path, fits, expected), pictures=False)
    assert (done["fits"], done["expected"]) == (13, 20)
    words = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "13 of 20 fits (partial: the run is not finished)" in words
    assert "| 5 of 8 |" in words


def test_one_fit_of_one_model_is_a_report_too(tmp_path: Path) -> None:
    for protocol in SECTIONS:
        for model in ("lightgbm", "mahalanobis"):
            folder = tmp_path / protocol / model
            write(made_up.store(folder, made(protocol, (model,))[:1]), pictures=protocol == "unknowns")


def test_words_of_others_stay_words(tmp_path: Path) -> None:
    fits = made_up.table(("igan-ids", "lightgbm"))
    for fit in fits:
        fit["title"] = "<script>|$x_1$*" if fit["model"] == "lightgbm" else "IGAN-IDS"
        for figures in fit["tests"].values():
            if fit["task"] == "attack":
                figures["classes"]["recall"]["攻撃 $\\frac"] = figures["classes"]["recall"].pop("u2r")
    write(made_up.store(tmp_path, fits))
    words = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in words
    assert "<b>" not in words
    lines = [line.replace("\\|", "") for line in words.splitlines()]
    for above, line in pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|")


def test_p_values_are_those_of_the_pairs() -> None:
    fits = documents.Fits({}, tuple(made_up.nsl_kdd_cv(("igan-ids", "lightgbm", "svm"))))
    against = nsl_kdd_cv.compared(fits, "fold", fits.models, ("ranking", "auroc"))
    values = {(each["model"], each["split"]): each["tests"]["fold"]["ranking"]["auroc"] for each in fits.documents}
    splits = sorted(split for model, split in values if model == "svm")  # the reduced model has fewer
    differences = [values["igan-ids", split] - values["svm", split] for split in splits]
    assert (against["svm"]["pairs"], against["lightgbm"]["pairs"]) == (4, 8)
    assert against["svm"]["difference"] == pytest.approx(np.mean(differences))
    assert against["svm"]["t"] == pytest.approx(corrected_t(differences, 5400, 600))
    assert against["svm"]["t_holm"] >= against["svm"]["t"]


def test_the_gap_is_random_less_the_split() -> None:
    fits = documents.Fits({}, tuple(made_up.iiot(("igan-ids",))))
    cases = iiot.sets(fits)["westermo"]
    assert [case.kind for case in cases] == [
        "time/left", "time/bottom", "time/all", "left-to-bottom", "left-to-left", "random",
    ]  # fmt: skip
    at_random = fits.values("igan-ids", "westermo/random", "ranking", "auroc")
    at_time = fits.values("igan-ids", "westermo/time/all", "ranking", "auroc")
    got = iiot.gap(fits, "igan-ids", cases, cases[2])
    assert got == pytest.approx(np.mean(at_random) - np.mean(at_time))


def test_a_folder_without_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedModel, match="got no stored fits; make some with forebay model evaluate"):
        write(tmp_path)
    with pytest.raises(RefusedModel, match="got no stored fits"):
        write(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"not json", b"[]", b'"x"'])
def test_a_broken_run_file_is_refused(content: bytes, tmp_path: Path) -> None:
    made_up.store(tmp_path, made("unknowns")[:1])
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RefusedModel, match=r"run.json: got .*delete it"):
        write(tmp_path)
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize("content", [b"\x80\x04pickle", b"[1, 2]", b'{"protocol": "table", "model": "x"}', b"NaN"])
def test_a_broken_fit_is_refused_and_nothing_is_written(content: bytes, tmp_path: Path) -> None:
    made_up.store(tmp_path, made("table")[:1])
    (tmp_path / "fits" / "table" / "other.json").write_bytes(content)
    with pytest.raises(RefusedModel, match="run again with --resume"):
        write(tmp_path)
    assert not (tmp_path / "report.md").exists()


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    made_up.store(tmp_path, [made_up.document("mine", "igan-ids", "s", 0)])
    with pytest.raises(RefusedModel, match="got fits of protocol mine, expected one of nsl-kdd-cv"):
        write(tmp_path)
