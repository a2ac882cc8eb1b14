"""A base model is fetched whole, by listed names, or not at all."""

import hashlib
import json

import pytest
from hub_server import COMMIT, Hub
from mindtune.records import sha256_path
from test_hub import LOCAL, run


def fetch_model(tmp_path, spec, part, **environment):
    return run("fetch_model.py", tmp_path, "--spec", json.dumps(spec), "--part", part, "--model",
        tmp_path / "base",
               "--record", tmp_path / "base.json", **environment)  # fmt: skip


def weights(*bits, dtype="BF16"):
    """A safetensors file of one tensor, given the values' bits, 16 each."""
    header = {
        "层.weight": {"dtype": dtype, "shape": [len(bits)], "data_offsets": [0, 2 * len(bits)]}
    }
    text = json.dumps({"__metadata__": {"format": "pt"}} | header, ensure_ascii=False).encode()
    return (
        len(text).to_bytes(8, "little")
        + text
        + b"".join(value.to_bytes(2, "little") for value in bits)
    )


WEIGHTS = weights(0x3F80, 0x0000, 0xFF7F)  # 1, 0 and the largest number below zero


def model_folder(tmp_path, **more):
    folder = tmp_path / "model"
    folder.mkdir()
    files = {
        "config.json": b'{"model_type": '
b'"qwen2"}', "tokenizer.json": b"{}", "model.safetensors": WEIGHTS, "LICENSE": b"Apache-2.0",
        "chat_template.jinja": b"{{ messages[0]['content'] }}",
    } | more  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return LOCAL | {"path": str(folder)}


def test_model_parts(tmp_path):
    spec = model_folder(tmp_path)
    (tmp_path / "model/checkpoint-10").mkdir()
    (tmp_path / "model/checkpoint-10/model.safetensors").write_bytes(b"other weights")
    assert fetch_model(tmp_path, spec, "tokenizer").returncode == 0
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == [
        "LICENSE",
        "chat_template.jinja",
        "config.json",
        "tokenizer.json",
    ]
    assert fetch_model(tmp_path, spec, "all").returncode == 0
    assert (tmp_path / "base/model.safetensors").read_bytes() == WEIGHTS
    assert not (tmp_path / "base/checkpoint-10").exists()
    assert json.loads((tmp_path / "base.json").read_text())["params"]["part"] == "all"


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
@pytest.mark.parametrize("part", ["tokenizer", "all"])
def test_of_a_hub_s_model_only_listed_names_are_taken(tmp_path, endpoint, source, part):
    listed = {
        "config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS,
        "chat_template.jinja": b"{{ messages }}",
        "NOTICE": b"n", "README.md": b"r",
    }  # fmt: skip
    others = (
        "NOTICE_x.py",
        "chat_template.py",
        "README.py",
        "LICENSE_x.so",
        "tokenizer_evil.json",
        "modeling.py",
        "a.bin",
        "tokenizer.py",
    )
    Hub.files = listed | dict.fromkeys(others, b"import os")
    spec = {"source": source, "id": "team/model", "revision": COMMIT}
    done = fetch_model(tmp_path, spec, part, HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    expected = listed.keys() - ({"model.safetensors"} if part == "tokenizer" else set())
    assert {path.name for path in (tmp_path / "base").iterdir()} == expected


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_hub_s_tokenizer_that_names_code_is_refused(tmp_path, endpoint, source):
    Hub.files = {
        "config.json": b"{}", "tokenizer.json": b"{}", "chat_template.jinja": b"x",
        "NOTICE_x.py": b"open('ran', 'w')",
        "tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["NOTICE_x.Evil", null]}}',
    }  # fmt: skip
    spec = {"source": source, "id": "team/model", "revision": COMMIT}
    done = fetch_model(
        tmp_path, spec, "tokenizer", HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint
    )
    assert done.returncode == 2 and "tokenizer_config.json names code of its own" in done.stderr, (
        done.stderr
    )
    assert not (tmp_path / "base").exists()


def test_the_tokenizer_fetched_before_has_to_be_the_whole_models(tmp_path):
    spec = model_folder(tmp_path)
    assert fetch_model(tmp_path, spec, "tokenizer").returncode == 0
    (tmp_path / "base.json").rename(tmp_path / "tokenizer.record")
    before = ["--tokenizer-record", tmp_path / "tokenizer.record"]
    words = [
        "--spec",
        json.dumps(spec),
        "--part",
        "all",
        "--model",
        tmp_path / "base",
        "--record",
        tmp_path / "base.json",
        *before,
    ]
    assert run("fetch_model.py", tmp_path, *words).returncode == 0
    facts = json.loads((tmp_path / "base.json").read_text())["facts"]
    assert facts["template"] == {
        "name": "different",
        "sha256": hashlib.sha256(b"{{ messages[0]['content'] }}").hexdigest(),
    }
    (tmp_path / "model/tokenizer.json").write_text('{"换": 1}')
    done = run("fetch_model.py", tmp_path, *words)
    assert (
        done.returncode == 2
        and "tokenizer.json of the tokenizer that was fetched before" in done.stderr
    ), done.stderr


def test_a_model_that_no_disk_can_hold_is_refused_with_its_tokenizer(tmp_path):
    """The tokenizer comes first, and config.json with it: nobody downloads for an hour to learn
    that the disk is full.
    """
    shape = {
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 152064,
    }
    spec = model_folder(
        tmp_path, **{"config.json": json.dumps({**shape, "num_hidden_layers": 80_000_000}).encode()}
    )
    done = fetch_model(tmp_path, spec, "tokenizer")
    assert done.returncode == 2, done.stderr
    assert "GB free, and this model needs" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(("more", "word"), [
    ({"model.safetensors.index.json": b"null"}, "should hold an object"),
    ({"model.safetensors.index.json": b"{}"}, "has no weight_map"),
    ({"model.safetensors.index.json": b'{"weight_map": {"a": '
b'"../../x.safetensors"}}'}, "has no weight_map"),
    ({"config.json": b"null"}, "should hold an object"),
    ({"chat_template.jinja": b"{{ 'a' * 10**9 }}"}, "takes more than 512 MB of memory"),
    ({"pytorch_model.bin": b"\x80"}, "can run code"),
    ({"modeling_x.py": b""}, "can run code"),
    ({"config.json": b'{"auto_map": {}}'}, "code of its own"),
    ({"model.safetensors.index.json": b'{"weight_map": {"a": '
b'"model-00001-of-00002.safetensors"}}'}, "model-00001-of-00002"),
    ({"config.json": b"{"}, "is not whole JSON"),
    ({"model.safetensors": b"weights"}, "is no safetensors file"),
    ({"model.safetensors": weights(0x3F80, 0x7FC0)}, "model.safetensors holds NaN or infinity in "
"层.weight"),
    ({"model.safetensors": weights(0xFF80)}, "holds NaN or infinity"),
    ({"model.safetensors": weights(0x3C00, 0xFC00, dtype="F16")}, "holds NaN or infinity"),
])  # fmt: skip
def test_models_that_are_refused(tmp_path, more, word):
    done = fetch_model(tmp_path, model_folder(tmp_path, **more), "all")
    assert done.returncode == 2 and word in done.stderr
    assert not (tmp_path / "base").exists()


def test_a_model_without_weights_or_tokenizer_is_refused(tmp_path):
    spec = model_folder(tmp_path)
    (tmp_path / "model/model.safetensors").unlink()
    assert "model.safetensors first" in fetch_model(tmp_path, spec, "all").stderr
    (tmp_path / "model/tokenizer.json").unlink()
    assert "no tokenizer.json" in fetch_model(tmp_path, spec, "tokenizer").stderr


def test_a_local_base_shares_nothing_with_the_users_file(tmp_path):
    """Who writes into the file in place afterwards must not change what is trained on."""
    assert fetch_model(tmp_path, model_folder(tmp_path), "all").returncode == 0
    with open(tmp_path / "model/model.safetensors", "r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\0")
    assert (tmp_path / "base/model.safetensors").read_bytes() == WEIGHTS
    record = json.loads((tmp_path / "base.json").read_text())
    assert (
        record["outputs"][str(tmp_path / "base")]
        == sha256_path(tmp_path / "base")
        == record["facts"]["sha256"]
    )
