from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.serving import registry
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.settings import load_settings
from pipeline.tools.offline.flow_file import featurize
from pipeline.tools.offline.naming_figures import OTHER, captures_in, iot_23_truth, judge, scored_by, without_baselines
from tests.alert.suspects import scored
from tests.real_records import FOLDER, needs
from tests.tools.offline.test_flow_file import forebay


def rows(*classes: str, **more: Any) -> list[dict[str, Any]]:
    return [{"class": name, "source_record": number, **more} for number, name in enumerate(classes)]


def test_every_name_is_wrong_where_nobody_knows_what_is_right() -> None:
    batch = scored(rows("unknown", "portscan", "portscan", "normal"))
    named = judge("x", False, batch, None)
    assert (named.flows, named.suspects, named.named, named.wrong) == (4, 4, 2, 2)
    assert named.wrong_share == 0.5
    assert named.names == {"normal": 1, "portscan": 2, "unknown": 1}
    assert named.document()["wrong_share"] == 0.5


def test_a_name_that_the_label_has_is_right_and_only_suspects_count() -> None:
    suspects = scored([*rows("portscan", "portscan", "mitm"), {"class": "mitm", "suspect": False, "source_record": 3}])
    named = judge("x", True, suspects, np.array(["portscan", OTHER, "normal", "normal"]))
    assert (named.suspects, named.named, named.wrong) == (3, 3, 2)


def test_what_the_classifier_alone_would_say_is_counted_and_shown() -> None:
    batch = scored(rows("unknown", nearest_class="ssh_bruteforce") + rows("unknown", nearest_class="normal"))
    named = judge("x", False, batch, None)
    assert (named.likeliest_named, named.named) == (1, 0)
    assert [example["nearest_class"] for example in named.examples] == ["ssh_bruteforce"]
    assert judge("x", False, batch.slice(0, 0), None).wrong_share == 0.0


def test_labels_of_iot_23(tmp_path: Path) -> None:
    path = tmp_path / "iot-23" / "C-1.conn.log.labeled"
    path.parent.mkdir()
    lines = (("-   Malicious   DDoS", OTHER), ("-   Malicious   PartOfAHorizontalPortScan", "portscan"))
    path.write_text("#fields\tts\n" + "".join(f"1\t{end}\n" for end, _ in lines) + "2\t-   benign   -\n#close\n")
    assert iot_23_truth(path).tolist() == [*(name for _, name in lines), "normal"]
    assert list(captures_in(tmp_path)) == [(path, iot_23_truth)]


S7_PLANT = "formats/zeek-tsv/4SICS-151020/conn.log"


@pytest.mark.slow
@needs(S7_PLANT, "that the shipped model names no S7 connection of a plant never seen")
def test_the_shipped_model_names_nothing_of_a_plant_it_has_never_seen() -> None:
    decoded = decode_file(FOLDER / S7_PLANT, site="foreign", sensor="s", ingest_ts_us=2**51, max_future_us=2**62)
    rows = without_baselines(featurize(decoded, load_settings()).rows)
    named = judge("4SICS", False, scored_by(registry.load(""), rows), None)
    assert named.suspects > 10_000  # nobody has calibrated it
    assert named.wrong_share <= 0.02


@pytest.mark.slow
def test_without_a_folder_of_captures_it_is_asked_for() -> None:
    code, _, stderr = forebay("model", "evaluate", "--protocol", "names")
    assert code == 2
    assert "--data" in stderr
