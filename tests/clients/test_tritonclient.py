"""Real clients at `forebay score serve`: tritonclient, of the Open Inference Protocol, and the page's own of Arrow."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import tritonclient.http as client_module

from models.serving import registry
from models.serving.score import Scorer
from tests.models import tiny
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
MATRIX = tiny.rows(seed=7, count=40).matrix


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = registry.save(tiny.model(), tmp_path_factory.mktemp("registry"))
    words = [sys.executable, "-m", "pipeline.tools.cli", "score", "serve", "--port", "0", "--json"]
    process = subprocess.Popen([*words, "--model", str(Path(model))], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"].removeprefix("http://")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("binary", [True, False])
def test_it_gets_the_scorers_scores(address: str, binary: bool) -> None:
    with client_module.InferenceServerClient(address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("igan")
        assert client.get_model_metadata("igan")["versions"] == [tiny.model().id]
        rows = client_module.InferInput("rows", list(MATRIX.shape), "FP32")
        rows.set_data_from_numpy(MATRIX, binary_data=binary)
        origin = client_module.InferInput("origin", [1], "BYTES")
        origin.set_data_from_numpy(np.array(["plant/a"], np.object_), binary_data=binary)
        names = ("score", "suspect", "class", "probability")
        outputs = [client_module.InferRequestedOutput(name, binary_data=binary) for name in names]
        answer: Any = client.infer("igan", [rows, origin], outputs=outputs, request_id="7")
    wanted = Scorer(tiny.model(), "cpu").score(MATRIX, np.zeros(40, np.int64), np.full(40, "plant/a"))
    assert np.array_equal(answer.as_numpy("score"), wanted.score)
    assert np.array_equal(answer.as_numpy("probability"), wanted.probability)
    assert np.array_equal(answer.as_numpy("suspect"), wanted.suspect)
    texts = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("class")]
    assert texts == [tiny.model().classes[index] for index in wanted.class_index]
    assert answer.get_response()["id"] == "7"


def test_an_error_is_one_of_its_own(address: str) -> None:
    with client_module.InferenceServerClient(address) as client:
        rows = client_module.InferInput("rows", [2, 5], "FP32")
        rows.set_data_from_numpy(np.zeros((2, 5), np.float32))
        with pytest.raises(Exception, match=r"rows\.shape: got \[2, 5\], expected \[n, 6\]"):
            client.infer("igan", [rows])


def test_the_documented_client_of_arrow(address: str) -> None:
    page = Path("docs/inference.md").read_text(encoding="utf-8")
    found = re.search(r"^    import json, urllib\.request\n(?:    .*\n|\n)*?.*to_pydict\(\)\)\n", page, re.MULTILINE)
    assert found is not None
    program = dedent(found.group()).replace("127.0.0.1:9485", address)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    wanted = Scorer(tiny.model(), "cpu").score(np.zeros((3, 6), np.float32), np.zeros(3, np.int64), np.full(3, "*"))
    says = {"score": wanted.score.tolist(), "suspect": wanted.suspect.tolist(), "calibration": ["*"] * 3}
    assert run.stdout.strip() == str(says), run.stderr
