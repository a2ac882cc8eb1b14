"""Start a model server, wait until it answers, and prove it gone afterwards: one interface, two
engines.

`lmdeploy` is LMDeploy's own `serve api_server` on a GPU; `transformers` is
`transformers_server.py`, for a CPU. Both speak the OpenAI API on a loopback port, with a random
key that is in no command line. The server is a process group of its own under `watchdog.py`, so
that it ends with this process even after `kill -9`.
"""

import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.model_shape import weight_bytes
from mindtune.safe_loading import check_folder
from mindtune.serve.client import Client
from mindtune.serve.engine_settings import (
    check_engine,
    environment,
    lmdeploy_command,
    transformers_command,
)
from mindtune.serve.load import Target
from mindtune.serve.server_process import check_alive, free_port, start_group, stop

# A disk that reads 100 MB/s. LMDeploy's PyTorch engine took 92 to 105 s for 15 GB from a local
# disk of an H100 host
SECONDS_PER_GB = 10
# As many as the configuration lets a program of ours ask at once
OWN_REQUESTS = "10000"
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

    def target(self) -> Target:
        """The same for many requests at once, answered whole."""
        return Target(self.port, self.api_key, {"model": self.model_name}, False)


def deadline_s(engine: Mapping[str, Any], model: Path) -> float:
    """Seconds that a server may take until its first completed chat."""
    return engine["startup_timeout_s"] + SECONDS_PER_GB * weight_bytes(model) / 1e9


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


def make_key(path: Path) -> str:
    """A random key, in a file that only this account may read."""
    key = secrets.token_urlsafe(32)
    path.touch(mode=0o600)
    path.write_text(key, encoding="ascii")
    return key


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
        key_file, port_file = Path(folder) / "key", Path(folder) / "port"
        key = make_key(key_file)
        port = free_port() if engine["engine"] == "lmdeploy" else None
        command = (
            lmdeploy_command(model, engine, port)
            if port
            else transformers_command(model, engine, port_file, "--requests", OWN_REQUESTS)
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
