"""What docs/outputs.md shows to be copied works as it stands there."""

import re
import time
from collections.abc import Callable

import pytest
import yaml

from pipeline.settings import load_settings
from pipeline.tools.outputs.webhook_sender import signature
from tests.contract.tree import ROOT

PAGE = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("uncomment", [False, True])
def test_each_example_is_a_setting(uncomment: bool) -> None:
    kinds = set()
    for text in blocks("yaml"):
        shown = re.sub(r"^    # (?=\w+: )", "    ", text, flags=re.MULTILINE) if uncomment else text
        outputs = load_settings(outputs=yaml.safe_load(shown)["outputs"]).outputs
        kinds |= {type(output).__name__ for output in outputs}
    assert kinds == {"SyslogOutput", "WebhookOutput", "EmailOutput", "FileOutput"}


def test_a_signature_is_verified_as_the_page_says() -> None:
    [text] = blocks("python")
    assert len(text.strip().splitlines()) <= 10
    names: dict[str, Callable[[str, bytes, bytes], bool]] = {}
    exec(compile(text, "docs/outputs.md", "exec"), names)  # noqa: S102 - our own page
    is_ours, body, now_s = names["is_ours"], b'{"a":1}', int(time.time())
    assert is_ours(signature(b"key", body, now_s), body, b"key")
    assert not is_ours(signature(b"key", body, now_s), body + b" ", b"key")
    assert not is_ours(signature(b"other", body, now_s), body, b"key")
    assert not is_ours(signature(b"key", body, now_s - 600), body, b"key")
