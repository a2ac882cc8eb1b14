"""Settings of the engines that serve, as config.serve_settings gives them."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

ENGINE = {
    "engine": "transformers",
    "python": sys.executable,
    "backend": "pytorch",
    "model_name": "咨询师-demo",
    "tp": 1,
    "session_len": 1024,
    "cache_max_entry_count": 0.8,
    "device": "cpu",
    "threads": 1,
    "startup_timeout_s": 120,
}

# Of few tokens, so that a test can fill a session
SHORT_ENGINE = {**ENGINE, "model_name": "demo", "session_len": 512}

GPU_ENGINE = {
    **ENGINE,
    "engine": "lmdeploy",
    "device": "gpu",
    "python": "/env/bin/python",
    "model_name": "qwen2.5-7b-sft",
}
