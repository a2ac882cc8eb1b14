"""Exports as the deployment takes them, and its programs."""

import subprocess
import sys
from pathlib import Path

from signed_export import seal

ROOT = Path(__file__).resolve().parents[3]


def make_export(folder: Path, text: str) -> Path:
    """A folder with a manifest, as export_model.py writes it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(text.encode() * 100)
    seal(folder)
    return folder


def program(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / name, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
