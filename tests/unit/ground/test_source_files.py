"""Every path that the configuration names is there, can be read, and has a name that Snakemake
takes as it stands.
"""

import copy
import os

import pytest
from mindtune.cli import UserError
from mindtune.records import sha256_file
from mindtune.source_files import ALWAYS_READ, Contents, check_configured, check_source, files_below

CONFIG = {
    "datasets": {
        "对话": {"source": "local", "path": "数据"},
        "hub": {"source": "modelscope", "path": None},
    },
    "model": {"source": "local", "path": "模型"},
    "data": {
        "contamination": {"files": ["题.jsonl"]},
        "split": {"paraphrases": {"path": "编码"}},
    },
    "evaluate": {
        "conversations": {"client": "endpoint", "key_file": "口令", "path": None},
        "raters": {"path": "评分"},
    },
    "export": {
        "signing_key": "钥匙.pem",
        "signing_passphrase": "暗语",
        "signing_certificate": "证书.pem",
        "signing_token": None,
        "signing_login": None,
        "sigstore": None,
    },
}


@pytest.fixture
def folder(tmp_path):
    files = ("数据/甲.jsonl", "模型/config.json", "题.jsonl", "钥匙.pem", "口令", "评分/key.json")
    for name in (*files, "暗语", "证书.pem", "编码/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_what_is_there_passes(folder):
    check_configured(CONFIG, str(folder))
    without = copy.deepcopy(CONFIG)
    without["export"]["signing_key"] = None
    (folder / "钥匙.pem").unlink()
    check_configured(without, str(folder))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("数据/甲.jsonl", "datasets.对话.path"),
        ("模型/config.json", "model.path"),
        ("题.jsonl", "data.contamination.files"),
        ("编码/config.json", "data.split.paraphrases.path"),
        ("口令", "evaluate.conversations.key_file"),
        ("评分/key.json", "evaluate.raters.path"),
        ("钥匙.pem", "export.signing_key"),
        ("暗语", "export.signing_passphrase"),
        ("证书.pem", "export.signing_certificate"),
    ],
)
def test_what_is_not_there_is_named_with_its_key(folder, name, key):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"config key {key} is '{name.split('/')[0]}'"):
        check_configured(CONFIG, str(folder))


def test_a_folder_in_place_of_a_file(folder):
    (folder / "钥匙.pem").unlink()
    (folder / "钥匙.pem").mkdir()
    (folder / "钥匙.pem/a").touch()
    with pytest.raises(UserError, match="export.signing_key is '钥匙.pem', a folder"):
        check_configured(CONFIG, str(folder))


def test_a_login_is_there_and_is_one(folder):
    login = copy.deepcopy(CONFIG)
    login["export"] |= {"signing_login": "ambient", "sigstore": "信任.json"}
    with pytest.raises(UserError, match="export.sigstore is '信任.json'"):
        check_configured(login, str(folder))
    (folder / "信任.json").write_text("{}")
    check_configured(login, str(folder))
    login["export"]["signing_login"] = "登录"
    with pytest.raises(UserError, match="export.signing_login is '登录': .* is not there"):
        check_configured(login, str(folder))
    (folder / "登录").write_text("不是")
    with pytest.raises(UserError, match="export.signing_login is '登录', which holds no identity"):
        check_configured(login, str(folder))


def test_the_module_of_a_token_is_there(folder):
    token = copy.deepcopy(CONFIG)
    token["export"]["signing_token"] = f"pkcs11:token=a;object=b?module-path={folder}/m%20odule.so"
    (folder / "m odule.so").write_text("x")
    check_configured(token, str(folder))
    (folder / "m odule.so").unlink()
    with pytest.raises(UserError, match="export.signing_token is .*m odule.so is not there"):
        check_configured(token, str(folder))


@pytest.mark.parametrize("name", ["<x>.jsonl", "{run}.jsonl", "a}.jsonl"])
def test_names_to_which_snakemake_gives_a_meaning(folder, name):
    (folder / "数据" / name).write_text("{}")
    for call in (
        lambda: check_configured(CONFIG, str(folder)),
        lambda: files_below(str(folder / "数据")),
        lambda: check_source(str(folder / "数据" / name)),
    ):
        with pytest.raises(
            UserError, match="in its path, to which Snakemake gives a meaning; rename it"
        ):
            call()


def test_odd_names_that_are_taken_as_they_stand(folder):
    for name in (
        "a b.jsonl",
        "o'brien.jsonl",
        "$(touch x).jsonl",
        "<>.jsonl",
        "<X>.jsonl",
        "-h.jsonl",
        "对话.jsonl",
    ):
        (folder / "数据" / name).write_text("{}")
    check_configured(CONFIG, str(folder))
    assert len(files_below(str(folder / "数据"))) == 8


def test_a_content_is_told_by_its_bytes_and_a_large_one_is_read_once(tmp_path, monkeypatch):
    small, large = tmp_path / "小", tmp_path / "大"
    small.write_bytes(b"x")
    large.write_bytes(b"y" * (ALWAYS_READ + 1))
    read = []

    def hashed(path):
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr("mindtune.source_files.sha256_file", hashed)
    contents = Contents(tmp_path / "state/known.json")
    first = contents.hashes([str(large), str(small)])
    assert first == [sha256_file(large), sha256_file(small)] and read == [large, small]
    assert contents.hashes([str(large), str(small)]) == first and read == [large, small, small]
    about = large.stat()
    large.write_bytes(b"z" * (ALWAYS_READ + 1))  # as long as before, and as old by its time
    os.utime(large, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert contents.hashes([str(large)]) == [sha256_file(large)] != first[:1]
