"""Model folders whose files name or hold code are refused before anything loads them."""

import ast
import json
import subprocess

import pytest
from mindtune import safe_loading
from mindtune.cli import UserError
from test_safe_loading import SCRIPTS, change


@pytest.mark.parametrize(
    ("file", "more", "word"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "modeling_x.Config"}}, "auto_map"),
        ("config.json", {"text_config": {"layers": [{"auto_map": "x.Y"}]}}, "auto_map"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "attn_implementation"),
        (
            "config.json",
            {"_experts_implementation": {"": "evil/kernel:run"}},
            "_experts_implementation",
        ),
        ("generation_config.json", {"custom_generate": "evil/repository"}, "custom_generate"),
        ("configuration.json", {"plugins": ["evil"]}, "plugins"),
        (
            "preprocessor_config.json",
            {"feature_extractor_type": "/tmp/dir--mod.Cls"},
            "feature_extractor_type",
        ),
        ("tokenizer_config.json", {"extra": ["repo/x--mod.Cls"]}, "extra"),
        (
            "adapter_config.json",
            {"megatron_config": {}, "megatron_core": "evil"},
            "megatron_config",
        ),
    ],
)
def test_settings_that_name_code_are_refused_in_every_file(plain, tmp_path, file, more, word):
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", plain, folder], check=True)
    if not (folder / file).exists():
        (folder / file).write_text("{}")
    change(folder / file, **more)
    with pytest.raises(UserError, match=rf"{file} names code of its own \({word}"):
        safe_loading.check_folder(folder)


@pytest.mark.parametrize(
    "name", ["NOTICE_x.py", "chat_template.py", "sub/x.so", "x.joblib", "训练.bin", "a.pyc"]
)
def test_files_that_can_run_code_are_refused(plain, tmp_path, name):
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", plain, folder], check=True)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match="can run code when it is loaded"):
        safe_loading.check_folder(folder)


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"null", "should hold an object"), (b"[1]", "should hold an object"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested"),
     (b"[" * 100_000, "nested too deeply"), (b"\xff\xfe{}", "not whole JSON"),
         (b"{" + b" " * (65 << 20), "bytes"),
     (b'{"a": ' + b"1" * 5000 + b"}", "not whole JSON")],
)  # fmt: skip
def test_json_that_is_none_is_a_sentence(plain, tmp_path, data, word):
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", plain, folder], check=True)
    (folder / "generation_config.json").write_bytes(data)
    with pytest.raises(UserError, match=word):
        safe_loading.check_folder(folder)


def test_what_published_models_have_is_allowed(plain, tmp_path):
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", plain, folder], check=True)
    change(
        folder / "config.json",
        _name_or_path="/cpfs01/models--Qwen--Qwen2.5",
        attn_implementation="sdpa",
        custom_scale=1.5,
    )
    vocabulary = {"auto_map": 5, "custom_x": 6, "/usr/lib/x.py": 7}
    (folder / "added_tokens.json").write_text(json.dumps(vocabulary))
    (folder / "configuration.json").write_text(
        '{"framework": "pytorch", "task": "chat", "allow_remote": true}'
    )
    safe_loading.check_folder(folder)
    assert safe_loading.load_tokenizer(folder)("你好")["input_ids"]


LOADERS = {
    "from_pretrained",
    "from_config",
    "get_processor",
    "get_model_processor",
    "export_main",
    "from_file",
}


def test_nothing_else_loads_a_model_or_a_tokenizer():
    allowed = {("mindtune/safe_loading.py", name) for name in LOADERS} | {
        ("mindtune/chat_template.py", "from_file")
    }
    found = set()
    for file in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in LOADERS:
                    found.add((file.relative_to(SCRIPTS).as_posix(), name))
    assert found <= allowed, found - allowed
    assert ("mindtune/safe_loading.py", "from_pretrained") in found
