"""Model files somebody else wrote: refused before a byte of them is believed."""

import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from typer.testing import CliRunner

from models.errors import RefusedModel
from models.serving import registry, weights
from models.serving.card import card
from models.serving.score import Scorer
from pipeline.errors import RefusedState
from pipeline.tools.cli.model import app
from schemas import model_manifest as manifest
from tests.models import tiny

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model, to be damaged."""
    return registry.save(tiny.model(), tmp_path / "registry")


def rewrite(folder: Path, change: Change, sign: bool = True) -> None:
    """Change the manifest, and give it the id that fits unless the forger is not to know how, or there is none."""
    document = json.loads((folder / "manifest.json").read_bytes())
    change(document)
    if sign:
        with suppress(UnicodeEncodeError, RecursionError):
            document["id"] = manifest.model_id(document)
    (folder / "manifest.json").write_text(json.dumps(document))


def replace_weights(folder: Path, content: bytes) -> None:
    """Swap the weights for others and make the manifest vouch for them."""
    (folder / "weights.safetensors").write_bytes(content)
    rewrite(folder, lambda document: document.update(weights_sha256=manifest.sha256(content)))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(RefusedModel, match=message):
        registry.load(folder)


@pytest.mark.slow
def test_the_sound_model_loads(folder: Path) -> None:
    assert registry.load(folder).id == tiny.model().id


def weights_of(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("size", [0, 4, 8, 300, -1])
def test_truncated_weights(folder: Path, size: int) -> None:
    replace_weights(folder, weights_of(folder)[:size])
    refused(folder, "weights")


@pytest.mark.parametrize("size", [2**63, 2**40, 2**31, 64 * 1024])
def test_a_huge_header(folder: Path, size: int) -> None:
    replace_weights(folder, size.to_bytes(8, "little") + weights_of(folder)[8:])
    refused(folder, "header")


def test_weights_of_gigabytes_are_not_read(folder: Path) -> None:
    with (folder / "weights.safetensors").open("r+b") as file:
        file.truncate(2**33)  # sparse: nothing is written
    refused(folder, "at most")


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_another_dtype(folder: Path, dtype: type[np.generic]) -> None:
    tensors = load(weights_of(folder))
    first = sorted(tensors)[0]
    replace_weights(folder, save({**tensors, first: tensors[first].astype(dtype)}))
    refused(folder, "expected F32")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A sound small model, whose look-up table is int8."""
    return registry.save(tiny.small_model(), tmp_path / "registry")


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"),
    [
        ("lookup.table", np.float32, "I8"),
        ("lookup.table", np.uint8, "I8"),
        ("lookup.table", np.int16, "I8"),
        ("lookup.scale", np.int8, "F32"),
        ("last.bias", np.int8, "F32"),
        ("knots.count", np.int8, "F32"),
    ],
)
def test_an_int8_table_is_the_only_tensor_of_that_type(small: Path, name: str, dtype: Any, wanted: str) -> None:
    tensors = load(weights_of(small))
    replace_weights(small, save({**tensors, name: tensors[name].astype(dtype)}))
    refused(small, f"{name}: got .* expected {wanted}")


def test_an_int8_table_in_a_model_of_floats_is_refused(folder: Path) -> None:
    tensors = load(weights_of(folder))
    replace_weights(folder, save({**tensors, "lookup.table": tensors["lookup.table"].astype(np.int8)}))
    refused(folder, r"lookup\.table: got .* expected F32")


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_an_int8_table_that_is_cut_off_or_too_long(small: Path, cut: int) -> None:
    content = weights_of(small)
    replace_weights(small, content[:-cut])
    refused(small, "cut off")
    replace_weights(small, content + b"\1" * cut)
    refused(small, "after the last tensor")


def test_an_int8_table_of_another_shape_or_without_a_scale(small: Path) -> None:
    tensors = load(weights_of(small))
    replace_weights(small, save({**tensors, "lookup.table": tensors["lookup.table"][:-1]}))
    refused(small, r"lookup\.table: got")
    replace_weights(small, save({name: value for name, value in tensors.items() if name != "lookup.scale"}))
    refused(small, r"lookup\.scale")


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e37, 3e38, np.nan, np.inf])
def test_scales_that_are_none_are_never_scored_with(small: Path, scale: float) -> None:
    tensors = {name: array.copy() for name, array in load(weights_of(small)).items()}
    tensors["lookup.scale"][1] = scale
    replace_weights(small, save(tensors))
    with pytest.raises(RefusedModel, match="scale"):
        Scorer(registry.load(small), "cpu")


def test_the_one_entry_no_column_makes_is_refused(small: Path) -> None:
    tensors = {name: array.copy() for name, array in load(weights_of(small)).items()}
    tensors["lookup.table"][2, 3] = -128
    replace_weights(small, save(tensors))
    with pytest.raises(RefusedModel, match="got -128 in an int8 table"):
        Scorer(registry.load(small), "cpu")
    with pytest.raises(RefusedModel, match="got -128 in an int8 table"):
        registry.verify(small)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(folder: Path, value: float) -> None:
    tensors = {name: array.copy() for name, array in load(weights_of(folder)).items()}
    tensors["last.bias"][0] = value
    replace_weights(folder, save(tensors))
    refused(folder, "finite")


def test_another_shape(folder: Path) -> None:
    tensors = load(weights_of(folder))
    tensors["last.bias"] = np.zeros(99, np.float32)
    replace_weights(folder, save(tensors))
    refused(folder, "last.bias")


def test_a_tensor_too_many_and_one_too_few(folder: Path) -> None:
    tensors = load(weights_of(folder))
    replace_weights(folder, save({**tensors, "extra": np.zeros(1, np.float32)}))
    refused(folder, "extra")
    replace_weights(folder, save({name: value for name, value in tensors.items() if name != "last.bias"}))
    refused(folder, "last.bias")


def test_overlapping_offsets_and_bytes_behind_the_end(folder: Path) -> None:
    content = weights_of(folder)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    same = next(iter(header.values()))["data_offsets"]
    for entry in header.values():
        entry["data_offsets"] = same
    text = json.dumps(header).encode()
    replace_weights(folder, len(text).to_bytes(8, "little") + text + content[8 + size :])
    refused(folder, "expected F32")
    replace_weights(folder, content + b"\0" * 64)
    refused(folder, "after the last tensor")


@pytest.mark.parametrize("header", [b"[]", b"null", b"{", b'{"a":' * 4000, b'{"last.bias": 3}'])
def test_a_header_that_is_none(folder: Path, header: bytes) -> None:
    replace_weights(folder, len(header).to_bytes(8, "little") + header)
    refused(folder, "weights")


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "run"))


def test_a_pickle_in_disguise_is_not_run(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "evidence"
    replace_weights(folder, pickle.dumps(Payload(target)))
    refused(folder, "never pickle")
    assert not target.exists()


def test_what_torch_saves_is_not_read(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "evidence"
    torch.save({"weights": Payload(target)}, folder / "weights.safetensors")
    replace_weights(folder, weights_of(folder))
    refused(folder, "never pickle")
    assert not target.exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "weights.safetensors"])
def test_a_file_is_no_model(name: str, tmp_path: Path) -> None:
    target = tmp_path / "evidence"
    (tmp_path / name).write_bytes(pickle.dumps(Payload(target)))
    with pytest.raises(RefusedModel, match=r"expected a folder.*pickle"):
        registry.load(tmp_path / name)
    assert not target.exists()


def test_the_command_refuses_a_pickle_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({}))
    for words in (["card", "MODEL"], ["show", "--model", "MODEL"], ["verify", "--model", "MODEL"]):
        with pytest.raises(RefusedState, match="expected a folder"):
            CliRunner().invoke(
                app,
                [str(tmp_path / "model.pkl") if word == "MODEL" else word for word in words],
                catch_exceptions=False,
            )


@pytest.mark.parametrize("metrics", [{"held_out": "good"}, {"rows": {"fit": [1]}}, {"names": {"sensor x": 1}}])
def test_figures_of_another_shape_are_no_card(folder: Path, metrics: dict[str, Any]) -> None:
    rewrite(folder, lambda document: document.update(metrics=metrics))
    with pytest.raises(RefusedModel, match="metrics"):
        card(registry.load(folder))


def test_another_models_weights_are_refused(folder: Path) -> None:
    other = weights.encode({name: -value for name, value in tiny.model().weights.items()})
    (folder / "weights.safetensors").write_bytes(other)
    refused(folder, "SHA-256")


@pytest.mark.parametrize("part", ["manifest.json", "weights.safetensors"])
@pytest.mark.parametrize("at", [0, 7, 8, 100, 1000, -2])
def test_any_byte_flipped_is_found(folder: Path, part: str, at: int) -> None:
    content = bytearray((folder / part).read_bytes())
    content[at] ^= 4
    (folder / part).write_bytes(content)
    with pytest.raises(RefusedModel):
        registry.load(folder)


@pytest.mark.parametrize("part", ["manifest.json", "weights.safetensors"])
def test_a_missing_or_cut_file_is_refused(folder: Path, part: str) -> None:
    content = (folder / part).read_bytes()
    for cut in (0, 1, len(content) // 2, len(content) - 2):
        (folder / part).write_bytes(content[:cut])
        refused(folder, part.partition(".")[0])
    (folder / part).unlink()
    refused(folder, part.partition(".")[0])


@pytest.mark.parametrize("part", ["manifest.json", "weights.safetensors"])
def test_a_pipe_or_a_device_is_not_read(folder: Path, part: str) -> None:
    (folder / part).unlink()
    os.mkfifo(folder / part)
    refused(folder, part)
    (folder / part).unlink()
    (folder / part).symlink_to("/dev/zero")
    refused(folder, part)


@pytest.mark.parametrize("part", ["", "manifest.json", "weights.safetensors"])
def test_links_in_a_registry_are_not_followed(folder: Path, tmp_path: Path, part: str) -> None:
    path = folder / part if part else folder
    path.symlink_to(path.rename(tmp_path / "outside"))
    with pytest.raises(RefusedModel, match="link"):
        registry.load(folder.name, folder.parent)
    with pytest.raises(RefusedModel, match="out of the registry"):
        registry.within(folder.parent, folder.name)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "../../etc", "/proc/self/mem", "/dev/null", "igan-0000\n"])
def test_names_of_models_that_are_none(folder: Path, name: str) -> None:
    with pytest.raises(RefusedModel):
        registry.load(name, folder.parent)


def test_other_weights_than_the_manifest_vouches_for(folder: Path) -> None:
    content = bytearray(weights_of(folder))
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(content))
    refused(folder, "SHA-256")


def test_a_manifest_changed_after_it_was_written(folder: Path) -> None:
    rewrite(folder, lambda document: document.update(alert_level=0.9), sign=False)
    refused(folder, "changed after it was written")


def _entry(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = document["calibration"]["*"]
    return entry


HOSTILE_MANIFESTS: dict[str, Change] = {
    "extra key": lambda d: d.update(run="rm -rf"),
    "missing key": lambda d: d.pop("baseline"),
    "another version": lambda d: d.update(version=99),
    "no pooled calibration": lambda d: d["calibration"].pop("*"),
    "path as origin": lambda d: d["calibration"].update({"../../etc": _entry(d)}),
    "negative count": lambda d: _entry(d).update(n=-1),
    "counts out of order": lambda d: _entry(d)["above"].reverse(),
    "score as text": lambda d: _entry(d).update(score=["0.5"], above=[0]),
    "score beyond single precision": lambda d: _entry(d).update(score=[1e300], above=[0]),
    "alert level above one": lambda d: _entry(d).update(alert_level=2),
    "scale of zero": lambda d: _entry(d)["odds"].update(distance_unit=[0, 0]),
    "odds of nothing": lambda d: _entry(d)["odds"].update(pi=0),
    "ranks that fall": lambda d: _entry(d)["odds"].update(value=[2, 1], position=[0, 1]),
    "more ranks than flows": lambda d: _entry(d)["odds"].update(value=[1], position=[10**7]),
    "a class known with negative radius": lambda d: d["known"]["mitm"].update(radius=-1),
    "knots of another network": lambda d: d["knots"].update(columns=1),
    "enormous knots": lambda d: d["knots"].update(edges=10**9),
    "a view nobody knows": lambda d: d["config"].update(view="nearness"),
    "prototypes that are not there": lambda d: d["config"].update(view="closeness"),
    "unknown setting": lambda d: d["config"].update(backdoor=True),
    "enormous network": lambda d: d["config"].update(width=10**9),
    "width as text": lambda d: d["config"].update(width="16"),
    "another table": lambda d: d["config"].update(table="int8"),
    "a table of no type of ours": lambda d: d["config"].update(table="int4"),
    "a number as type of table": lambda d: d["config"].update(table=8),
    "no attack classes": lambda d: d["config"].update(benign=99),
    "half a character": lambda d: d.update(feature_set="\ud800"),
    "half a character as a key": lambda d: d["metrics"].update({"\ud800": 1}),
    "depths": lambda d: d.update(metrics=json.loads('{"a":' * 900 + "1" + "}" * 900)),
    "a number of hundreds of digits": lambda d: _entry(d).update(n=10**400),
    "weights digest that is none": lambda d: d.update(weights_sha256="../../weights"),
}


@pytest.mark.parametrize("name", HOSTILE_MANIFESTS)
def test_hostile_manifests(folder: Path, name: str) -> None:
    rewrite(folder, HOSTILE_MANIFESTS[name])
    with pytest.raises(RefusedModel):
        registry.load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 100_000, b'{"version": NaN}', b"[" * 100_000, b" " * 600_000],
)
def test_manifests_that_are_none(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    refused(folder, "manifest")


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_calibration_that_is_not_finite(folder: Path, word: bytes) -> None:
    document = json.loads((folder / "manifest.json").read_bytes())
    _entry(document)["score"][-1] = "HERE"
    (folder / "manifest.json").write_bytes(json.dumps(document).encode().replace(b'"HERE"', word))
    refused(folder, "manifest|calibration")


@pytest.mark.parametrize(
    "uri", ["../outside", "/etc", "igan-000000000000/../../x", "", ".", "igan-XYZ", "a/b", "igan-000000000000/", "x\0y"]
)
def test_a_uri_that_leads_elsewhere(folder: Path, uri: str) -> None:
    if uri == "igan-000000000000/":
        assert registry.within(folder.parent, uri) == folder.parent / "igan-000000000000"
        return
    with pytest.raises(RefusedModel, match="uri"):
        registry.within(folder.parent, uri)


def test_a_link_out_of_the_registry(folder: Path, tmp_path: Path) -> None:
    outside = folder.rename(tmp_path / "outside")
    link = folder.parent / tiny.model().id
    link.symlink_to(outside)
    with pytest.raises(RefusedModel, match="out of the registry"):
        registry.within(folder.parent, link.name)
