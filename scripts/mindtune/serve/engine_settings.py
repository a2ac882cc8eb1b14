"""The settings of an engine, checked, and the command lines and environment that they make."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.preflight import check_gpu, check_node
from mindtune.provenance import hashing_beside
from mindtune.serve import lmdeploy_server, transformers_server
from mindtune.serve.kv_cache import within_memory
from mindtune.variables import listed

ENGINES = ("transformers", "lmdeploy")
KEYS = {
    "engine": str,
    "python": str,
    "backend": str,
    "model_name": str,
    "tp": int,
    "session_len": int,
    "cache_max_entry_count": float,
    "device": str,
    "threads": int,
    "startup_timeout_s": int,
}
# null where it is not bounded
MEMORY = "memory_gib"
LOG_BYTES = 16 << 20
# The transformers engine answers one request at a time: one more waits, and none for long
ONE_BY_ONE = 2
# With its PyTorch engine LMDeploy brings its own attention kernels, which are in the package
MODULES = {"transformers": ["transformers"], "lmdeploy": ["lmdeploy.serve"]}
ZERO_CACHE = (
    "the share of the free GPU memory that the KV cache gets has to lie between 0 and 1, both "
    "excluded: with 0 there is "
    "no room for a single token and both engines of LMDeploy stop at start; use 0.8"
)


def in_flight(engine: Mapping[str, Any], wanted: int) -> int:
    """How many requests to have under way at a time, of the number that the configuration gives."""
    return min(wanted, ONE_BY_ONE) if engine["engine"] == "transformers" else wanted


def check_engine(engine: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that is missing, unknown, of the wrong type or out of range."""
    for name in sorted((engine.keys() - {MEMORY}) ^ KEYS.keys()):
        raise UserError(
            f"engine setting {name} is {'unknown' if name in engine else 'missing'}; the settings "
            f"are {', '.join(KEYS)}"
        )
    for name, kind in KEYS.items():
        value = engine[name]
        if isinstance(value, bool) or not isinstance(
            value, (int, float) if kind is float else kind
        ):
            raise UserError(
                f"engine setting {name} is {value!r} and should be of type {kind.__name__}"
            )
        if kind is int and value < 1:
            raise UserError(f"engine setting {name} is {value} and should be at least 1")
    limit = engine.get(MEMORY)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float))):
        raise UserError(f"engine setting {MEMORY} is {limit!r} and should be a number or null")
    if engine["engine"] not in ENGINES:
        raise UserError(f"engine {engine['engine']!r} is unknown; use one of {', '.join(ENGINES)}")
    if not 0 < engine["cache_max_entry_count"] < 1:
        raise UserError(
            f"engine setting cache_max_entry_count is {engine['cache_max_entry_count']}; "
            f"{ZERO_CACHE}"
        )
    if engine["device"] not in ("cpu", "gpu"):
        raise UserError(f"engine setting device is {engine['device']!r}; use cpu or gpu")
    if engine["engine"] == "lmdeploy" and engine["device"] != "gpu":
        raise UserError(
            "engine lmdeploy needs device gpu; on a machine without a GPU use engine transformers"
        )
    if engine["backend"] not in ("pytorch", "turbomind"):
        raise UserError(
            f"engine setting backend is {engine['backend']!r}; LMDeploy has pytorch and turbomind"
        )


def check_engine_node(engine: Mapping[str, Any], log: Path) -> None:
    """Raise UserError, before a model is loaded, if this node cannot run the engine or has no room
    for its log.
    """
    check_node(log.parent, LOG_BYTES)
    if engine["device"] == "gpu":
        check_gpu(engine["python"], engine["tp"], MODULES[engine["engine"]])


def hashed_beside_checks(
    engine: Mapping[str, Any], log: Path, paths: Iterable[Path], made_by: Sequence[Path]
) -> dict[str, str]:
    """{input: SHA-256}, once the inputs are what their records say and this node can run the
    engine; both take seconds, and go on side by side.
    """
    with hashing_beside(paths, made_by) as hashed:
        check_engine(engine)
        check_engine_node(engine, log)
        return hashed()


def lmdeploy_arguments(model: Path, engine: Mapping[str, Any], port: int) -> list[str]:
    """What follows `lmdeploy` on its command line, for LMDeploy 0.18. It listens on 0.0.0.0 unless
    told otherwise.
    """
    return [
        "serve", "api_server", str(model),
        "--model-name", engine["model_name"],
        "--backend", engine["backend"],
        "--tp", str(engine["tp"]),
        "--session-len", str(engine["session_len"]),
        "--cache-max-entry-count", str(engine["cache_max_entry_count"]),
        "--server-name", "127.0.0.1",
        "--server-port", str(port),
        # says how large the KV cache became; what clients say is logged one level below
        "--log-level", "INFO",
        "--disable-fastapi-docs",
    ]  # fmt: skip


def lmdeploy_command(model: Path, engine: Mapping[str, Any], port: int) -> list[str]:
    """The whole command, for the card as it is now. `-P` keeps our module names out of the way of
    LMDeploy's imports.
    """
    engine = within_memory(model, engine)
    return [
        engine["python"],
        "-P",
        lmdeploy_server.__file__,
        *lmdeploy_arguments(model, engine, port),
    ]


def transformers_command(
    model: Path, engine: Mapping[str, Any], port_file: Path, *extra: str
) -> list[str]:
    """The whole command; the server picks its port itself and writes it to `port_file`, if `extra`
    does not name one.
    """
    return [
        engine["python"], "-P", transformers_server.__file__,
        "--model", str(model),
        "--model-name", engine["model_name"],
        "--session-len", str(engine["session_len"]),
        "--device", engine["device"],
        "--threads", str(engine["threads"]),
        "--port-file", str(port_file),
        *extra,
    ]  # fmt: skip


def environment(engine: Mapping[str, Any], key_file: Path) -> dict[str, str]:
    """The server's environment: what is listed in mindtune/variables.py, offline, with the thread
    count and the place of the key.
    """
    return {
        **listed(os.environ),
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(engine["threads"]),
        transformers_server.KEY_VARIABLE: str(key_file),
    }
