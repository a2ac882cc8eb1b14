"""A small export as export_model.py leaves it, with a manifest and a signature."""

import hashlib
import subprocess
from pathlib import Path

ROOT = next(
    folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file()
)
BYTES = bytes(range(256))
CONTENT = {
    "README.md": "模型卡：{text}，不能代替医生。\n",
    "LICENSE": "Apache License 2.0\n",
    "config.json": '{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}',
    "generation_config.json": '{"do_sample": false}',
    "tokenizer.json": '{"model": {"vocab": {"你好": 0}}}',
    "tokenizer_config.json": '{"model_max_length": 4096}',
    "chat_template.jinja": "{% for message in messages %}{{ message.content }}{% endfor %}",
    "model.safetensors.index.json": '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
}


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, made as docs/deployment.md says."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
        check=True,
    )
    subprocess.run(
        ["openssl", "ec", "-in", private, "-pubout", "-out", public],
        check=True,
        capture_output=True,
    )
    private.chmod(0o600)
    return private, public


def seal(folder: Path) -> None:
    """Write block hashes, manifest and seal anew over the files as they are, as whoever may write
    to a folder can.
    """
    from mindtune.export.manifest import (
        BLOCKS,
        MANIFEST,
        SEAL,
        SIGNATURE,
        hash_folder,
        write_manifest,
    )

    for name in (BLOCKS, MANIFEST, SEAL):
        (folder / name).unlink(missing_ok=True)
    hashes, blocks = hash_folder(folder)
    hashes.pop(SIGNATURE, None)
    blocks.pop(SIGNATURE, None)
    write_manifest(folder, hashes, blocks, {"base": {"id": "基座"}})


def make_export(folder: Path, private: Path | None = None, text: str = "第一版") -> Path:
    """The folder, signed if there is a key."""
    from mindtune.export.signing import sign

    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_text(content.replace("{text}", text), encoding="utf-8")
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(
            (BYTES + text.encode()) * 100 * number
        )
    seal(folder)
    if private:
        sign(folder, private)
    return folder


def write_list(folder, content):
    """Write a manifest and the seal that fits."""
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.json.sha256").write_text(
        f"{hashlib.sha256(content).hexdigest()}  manifest.json\n"
    )
