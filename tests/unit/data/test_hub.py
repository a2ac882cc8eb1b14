"""Fetching: local files, a hub on this machine, no hub at all, and model folders that must be
refused.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from mindtune.cli import UserError
from mindtune.data import hub
from mindtune.records import sha256_path

ROOT = Path(__file__).parents[3]
LOCAL = {"source": "local", "path": None, "sha256": None, "licence": "CC0-1.0"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nothing listens


def run(program, tmp_path, *more, **environment):
    command = [sys.executable, ROOT / "scripts" / program, *more]
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    caches = {"HF_HOME": str(tmp_path / "hf"), "MODELSCOPE_CACHE": str(tmp_path / "ms")}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean | caches | environment,
    )


def fetch_dataset(tmp_path, spec, local="", **environment):
    raw = tmp_path / "results/data/心理/raw"
    return run("fetch_dataset.py", tmp_path, "--spec", json.dumps(spec), "--local", local, "--raw",
        raw,
               "--record", raw.parent / "fetch_dataset.json", **environment)  # fmt: skip


def fetch_model(tmp_path, spec, part, **environment):
    return run("fetch_model.py", tmp_path, "--spec", json.dumps(spec), "--part", part, "--model",
        tmp_path / "base",
               "--record", tmp_path / "base.json", **environment)  # fmt: skip


def source_folder(tmp_path):
    folder = tmp_path / "我的数据"
    (folder / "子").mkdir(parents=True)
    (folder / "对话.jsonl").write_text('{"conversations": []}\n')
    (folder / "子/more.json.gz").write_bytes(b"\x1f\x8b")
    (folder / "LICENSE").write_text("CC0")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    (folder / "archive.zip").write_bytes(b"PK")
    return folder


def test_local_folder_and_file(tmp_path):
    folder = source_folder(tmp_path)
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 0, done.stderr
    raw = tmp_path / "results/data/心理/raw"
    assert sorted(
        path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()
    ) == [
        "LICENSE",
        "子/more.json.gz",
        "对话.jsonl",
    ]
    facts = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]
    assert (
        facts["files"]["对话.jsonl"]
        == hashlib.sha256((folder / "对话.jsonl").read_bytes()).hexdigest()
    )
    (folder / "对话.jsonl").write_text("changed")
    assert (raw / "对话.jsonl").read_text() == '{"conversations": []}\n', (
        "raw is a copy, not a link to the user's file"
    )
    assert fetch_dataset(tmp_path, LOCAL | {"path": str(folder / "LICENSE")}).returncode == 0
    assert [path.name for path in raw.iterdir()] == ["LICENSE"]


def test_what_is_not_taken_is_named(tmp_path):
    """On the screen and in the record: an archive, a table of another program, a hidden file, a
    link to nothing, a pipe.
    """
    folder = source_folder(tmp_path)
    (folder / ".hidden.jsonl").write_text("{}")
    (folder / "table.xlsx").write_bytes(b"PK")
    (folder / "gone.jsonl").symlink_to(folder / "没有.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "turns.tsv").write_text("a\tb\n")
    (folder / "more.ndjson").write_text("{}\n")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 0, done.stderr
    record = tmp_path / "results/data/心理/fetch_dataset.json"
    facts = json.loads(record.read_text(encoding="utf-8"))["facts"]
    assert {"turns.tsv", "more.ndjson"} <= set(facts["files"])
    assert facts["left_behind"] == {
        ".hidden.jsonl": "hidden",
        "archive.zip": "an archive",
        "gone.jsonl": "a link to nothing",
        "photo.png": "no data file",
        "pipe.jsonl": "no regular file",
        "table.xlsx": "no data file",
    }
    assert all(f"not taken: {name!r}" in done.stdout for name in facts["left_behind"])


def test_the_pinned_hash_must_match(tmp_path):
    folder = source_folder(tmp_path)
    fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    raw = tmp_path / "results/data/心理/raw"
    pinned = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]["sha256"]
    assert fetch_dataset(tmp_path, LOCAL | {"path": str(folder), "sha256": pinned}).returncode == 0
    (folder / "对话.jsonl").write_text("changed")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder), "sha256": pinned})
    assert done.returncode == 2 and f"datasets.心理.sha256 is {pinned}" in done.stderr
    assert (raw / "对话.jsonl").read_text() != "changed"


def test_what_is_missing_is_named(tmp_path):
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(tmp_path / "没有")})
    assert (
        done.returncode == 2
        and "没有 does not exist" in done.stderr
        and "datasets.心理.path" in done.stderr
    )
    (tmp_path / "空").mkdir()
    assert "holds none of" in fetch_dataset(tmp_path, LOCAL | {"path": str(tmp_path / "空")}).stderr


def test_links_out_of_the_folder_are_refused(tmp_path):
    folder = source_folder(tmp_path)
    (tmp_path / "secret.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    done = fetch_dataset(tmp_path, LOCAL | {"path": str(folder)})
    assert done.returncode == 2 and "outside" in done.stderr


@pytest.mark.parametrize(("spec", "word"), [
    ({"source": "ftp"}, "expected modelscope, huggingface or local"),
    ({"source": "local"}, "datasets.x.path is missing"),
    ({"source": "huggingface", "id": "a/b"}, "datasets.x.revision is missing"),
    ({"source": "local", "path": "a", "branch": "b"}, "branch"),
])  # fmt: skip
def test_specs_are_checked(spec, word):
    with pytest.raises(UserError, match=word):
        hub.check_spec(spec, "datasets.x")


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_without_a_network_the_answer_comes_in_seconds(tmp_path, source):
    spec = {"source": source, "id": "CodyWhy/mh-sharegpt-20250820", "revision": "master"}
    started = time.monotonic()
    done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=UNREACHABLE, MODELSCOPE_ENDPOINT=UNREACHABLE)
    assert time.monotonic() - started < 30
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "datasets.心理: {source: local, path: FOLDER}" in done.stderr
        and "does not answer" in done.stderr
    )


class Hub(BaseHTTPRequestHandler):
    """The few requests of Hugging Face's and ModelScope's protocols that a snapshot needs."""

    files: dict[str, bytes] = {}

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path, _, query = self.path.partition("?")
        if path.startswith("/api/v1/"):
            self.answer_modelscope(path, parse_qs(query), body)
        elif "/revision/" in path:
            content = {
                "_id": "1",
                "id": "研究/对话",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in self.files],
            }
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif "/tree/" in path:
            content = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name, data in self.files.items()
            ]
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif (
            "/resolve/" in path
            and (data := self.files.get(path.split(f"/resolve/{COMMIT}/")[-1])) is not None
        ):
            self.send(
                data, body, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            )
        else:
            self.send_response(404 if path != "/" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer_modelscope(self, path, query, body):
        if path.endswith(("/repo/tree", "/repo/files")):
            files = [
                {
                    "Path": name,
                    "Name": name,
                    "Type": "blob",
                    "Size": len(data),
                    "Sha256": hashlib.sha256(data).hexdigest(),
                }
                for name, data in self.files.items()
            ]
            content = {
                "Code": 200,
                "Success": True,
                "Data": {"Files": files, "TotalCount": len(files)},
            }
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif "FilePath" in query:
            self.send(self.files[query["FilePath"][0]], body, {})
        else:
            self.send(b"{}", body, {})

    def send(self, data, body, headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_hub_snapshot_and_its_cache(tmp_path, endpoint, source):
    Hub.files = {
        "train.jsonl": b'{"conversations": []}\n',
        "README.md": b"# x",
        "loader.py": b"import os",
        "a/b.parquet": b"PAR1",
    }
    spec = {"source": source, "id": "team/dialogues", "revision": COMMIT, "licence": "MIT"}
    done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    raw = tmp_path / "results/data/心理/raw"
    facts = json.loads((raw.parent / "fetch_dataset.json").read_text())["facts"]
    assert sorted(facts["files"]) == ["README.md", "a/b.parquet", "train.jsonl"]
    assert (raw / "train.jsonl").read_bytes() == Hub.files["train.jsonl"]
    again = fetch_dataset(tmp_path, spec, HF_ENDPOINT=UNREACHABLE, MODELSCOPE_ENDPOINT=UNREACHABLE)
    assert again.returncode == 0, "what the cache holds needs no network"


def test_an_empty_snapshot_is_refused(tmp_path, endpoint):
    Hub.files = {"loader.py": b"import os"}
    for source in ("huggingface", "modelscope"):
        spec = {"source": source, "id": "team/code", "revision": COMMIT}
        done = fetch_dataset(tmp_path, spec, HF_ENDPOINT=endpoint, MODELSCOPE_ENDPOINT=endpoint)
        assert done.returncode == 2 and "holds none of" in done.stderr, done.stderr


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
