"""Start a model server, wait until it answers, and prove it gone afterwards: one interface, two
engines.

`lmdeploy` is LMDeploy's own `serve api_server` on a GPU; `transformers` is
`transformers_server.py`, for a CPU. Both speak the OpenAI API on a loopback port, with a random
key that is in no command line. The server is a process group of its own under `watchdog.py`, so
that it ends with this process even after `kill -9`.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.preflight import check_gpu, check_node
from mindtune.safe_loading import check_folder
from mindtune.serve import lmdeploy_server, transformers_server, watchdog
from mindtune.serve.client import Client
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
# A disk that reads 100 MB/s. LMDeploy's PyTorch engine took 92 to 105 s for 15 GB from a local
# disk of an H100 host
SECONDS_PER_GB = 10
GRACE_S = 10
LOG_BYTES = 16 << 20
# With its PyTorch engine LMDeploy brings its own attention kernels, which are in the package
MODULES = {"transformers": ["transformers"], "lmdeploy": ["lmdeploy.serve"]}
ZERO_CACHE = (
    "the share of the free GPU memory that the KV cache gets has to lie between 0 and 1, both "
    "excluded: with 0 there is "
    "no room for a single token and both engines of LMDeploy stop at start; use 0.8"
)
# LMDeploy 0.18 serves with its other engine when TurboMind cannot be loaded, and says so only in
# its log
FALLBACK = "Fallback to pytorch engine"


@dataclass(frozen=True)
class Server:
    """A running server. `group` is its process group, `startup_s` the seconds until its first
    completed chat.
    """

    base_url: str
    port: int
    model_name: str
    group: int
    startup_s: float
    api_key: str = field(repr=False)

    def client(self, timeout: float = 600) -> Client:
        """A client with this server's address, model name and key; `timeout` in seconds a
        request.
        """
        return Client(self.base_url, self.api_key, self.model_name, timeout)


def check_engine(engine: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that is missing, unknown, of the wrong type or out of range."""
    for name in sorted(engine.keys() ^ KEYS.keys()):
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
    """The whole command. `-P` keeps our module names out of the way of LMDeploy's imports."""
    return [
        engine["python"],
        "-P",
        lmdeploy_server.__file__,
        *lmdeploy_arguments(model, engine, port),
    ]


def transformers_command(model: Path, engine: Mapping[str, Any], port_file: Path) -> list[str]:
    """The whole command; the server picks its port itself and writes it to `port_file`."""
    return [
        engine["python"], "-P", transformers_server.__file__,
        "--model", str(model),
        "--model-name", engine["model_name"],
        "--session-len", str(engine["session_len"]),
        "--device", engine["device"],
        "--threads", str(engine["threads"]),
        "--port-file", str(port_file),
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


def weight_bytes(model: Path) -> int:
    """Size of the safetensors files of a model folder."""
    return sum(path.stat().st_size for path in model.glob("*.safetensors"))


def deadline_s(engine: Mapping[str, Any], model: Path) -> float:
    """Seconds that a server may take until its first completed chat."""
    return engine["startup_timeout_s"] + SECONDS_PER_GB * weight_bytes(model) / 1e9


def free_port() -> int:
    """A loopback port that was free a moment ago, for a server that cannot choose one itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def group_members(group: int) -> list[int]:
    """Process ids of a process group that still run; a process that ended and was not yet
    collected does not count.
    """
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name, which may hold anything) state ppid pgrp ...
            state, _, pgrp = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
            )
        except OSError:
            continue  # ended while we looked
        if int(pgrp) == group and state not in "ZX":
            members.append(int(stat.parent.name))
    return sorted(members)


def port_open(port: int) -> bool:
    """True if something takes connections on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cause(log: Path) -> str:
    """The last line of a log that names an error, or else its last line."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    named = [
        line for line in lines if re.match(r"(error|[\w.]*(Error|Exception|Interrupt))\b.*:", line)
    ]
    return (named or lines or ["nothing"])[-1]


def stop(process: subprocess.Popen, port: int | None) -> None:
    """End a server's process group, by SIGKILL after 10 s, and prove that no process and no open
    port is left.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if group_members(process.pid):
            with suppress(ProcessLookupError):  # ended while we looked
                os.killpg(process.pid, number)
        deadline = time.monotonic() + GRACE_S
        while group_members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.stdin.close()
    process.wait(timeout=GRACE_S)
    left = group_members(process.pid)
    if left or (port and port_open(port)):
        raise UserError(
            f"the server did not end: processes {left} are left or port {port} is open; end them "
            f"by hand"
        )


def wait_for_port(process: subprocess.Popen, port_file: Path, deadline: float, log: Path) -> int:
    """The port that the transformers server chose, once its model is loaded."""
    while not port_file.exists():
        check_alive(process, deadline, log)
        time.sleep(0.05)
    return int(port_file.read_text(encoding="ascii"))


def wait_for_chat(client: Client, process: subprocess.Popen, deadline: float, log: Path) -> None:
    """Return after a first completed chat: a port that is open, or /health, comes before a server
    that can answer.
    """
    from openai import APIConnectionError, APIStatusError, InternalServerError

    while True:
        check_alive(process, deadline, log)
        try:
            client.chat([{"role": "user", "content": "你好"}], max_tokens=1)
            return
        except (APIConnectionError, InternalServerError):
            time.sleep(0.2)
        except APIStatusError as error:
            raise UserError(
                f"the server refuses a first chat ({error.status_code}: {error.message}); read "
                f"{log}"
            ) from error


def check_backend(engine: Mapping[str, Any], log: Path) -> None:
    """Raise UserError if LMDeploy serves with another engine than the one asked for."""
    if engine["engine"] == "lmdeploy" and engine["backend"] == "turbomind":
        said = [
            line
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if FALLBACK in line
        ]
        if said:
            raise UserError(
                f"LMDeploy cannot load TurboMind and would serve with its PyTorch engine "
                f"({said[0].strip()}); "
                "install the CUDA 12 libraries that TurboMind needs, or set serve.backend to "
                "pytorch"
            )


def check_alive(process: subprocess.Popen, deadline: float, log: Path) -> None:
    """Raise UserError with the log's own words if the server ended or is late."""
    if process.poll() is not None:
        raise UserError(
            f"the server ended with status {process.returncode} before it answered: {cause(log)} "
            f"(all of it: {log})"
        )
    if time.monotonic() > deadline:
        raise UserError(
            f"the server did not answer in time; raise startup_timeout_s or read {log}, which ends "
            f"in: {cause(log)}"
        )


@contextmanager
def serve(model: str | Path, engine: Mapping[str, Any], log: str | Path) -> Iterator[Server]:
    """Serve a model folder and yield a server that has answered a chat; it is gone once the block
    is left, in any way.

    `engine` holds all of KEYS (see `check_engine`); the server's own output goes to `log`.
    """
    check_engine(engine)
    model, log = Path(model), Path(log)
    if not (model / "config.json").is_file() or not weight_bytes(model):
        raise UserError(
            f"{model} is no model folder: it needs config.json and *.safetensors files; make it "
            f"with the workflow"
        )
    check_folder(model)
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mindtune-") as folder:
        key, key_file, port_file = (
            secrets.token_urlsafe(32),
            Path(folder) / "key",
            Path(folder) / "port",
        )
        key_file.touch(mode=0o600)
        key_file.write_text(key, encoding="ascii")
        port = free_port() if engine["engine"] == "lmdeploy" else None
        command = (
            lmdeploy_command(model, engine, port)
            if port
            else transformers_command(model, engine, port_file)
        )
        start = time.monotonic()
        deadline = start + deadline_s(engine, model)
        process = start_group(command, environment(engine, key_file), log)
        try:
            port = port or wait_for_port(process, port_file, deadline, log)
            server = Server(
                f"http://127.0.0.1:{port}/v1", port, engine["model_name"], process.pid, 0.0, key
            )
            wait_for_chat(server.client(timeout=60), process, deadline, log)
            check_backend(engine, log)
            key_file.unlink()  # read by now, and no longer needed
            yield Server(
                server.base_url, port, server.model_name, process.pid, time.monotonic() - start, key
            )
        finally:
            stop(process, port)


def start_group(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen:
    """Start a command under the watchdog, in a session and process group of its own, with its
    output in `log`.
    """
    if not shutil.which(command[0]):
        raise UserError(
            f"there is no interpreter {command[0]}; build the environment that serves "
            f"(rules/env.smk does)"
        )
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, *command],
            env=env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
