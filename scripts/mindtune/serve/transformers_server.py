"""An OpenAI-compatible chat server over a local safetensors model, for machines without LMDeploy's
GPU stack.

Greedy decoding only, one request at a time; others wait in the order in which they came. Loopback
only. Endpoints: /health and /proof (no key), /metrics, /v1/models, /v1/chat/completions (whole, or
streamed as server-sent events). Connections, their times, requests and bodies have limits: see
connections.py and guards.py.

Reads   a model folder; the API key from the file that MINDTUNE_API_KEY_FILE names
Writes  `--port-file`, once the model is loaded and the port takes connections
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

# last on the path: our programs have names that a library's module may have
sys.path.append(str(Path(__file__).resolve().parents[2]))

from mindtune.cli import argument_parser, run
from mindtune.serve.decoder import Decoder

KEY_VARIABLE = "MINDTUNE_API_KEY_FILE"
# Requests that wait at once, and connections beside theirs: for a health check, and for the next
REQUESTS = 256
MORE_CONNECTIONS = 64


def write_port(number: int, path: Path) -> None:
    """Write the number of the port; renamed, so it is whole."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(str(number), encoding="ascii")
    os.replace(temporary, path)


def parse_args() -> argparse.Namespace:
    """Command line; the key is not on it, since everybody on the machine can read a command
    line.
    """
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--session-len", required=True, type=int)
    parser.add_argument("--device", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="that may wait at once")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--port-file", required=True, type=Path)
    return parser.parse_args()


async def answer(args: argparse.Namespace, decoder: Decoder, key: str) -> None:
    """Serve until a signal."""
    import uvicorn

    from mindtune.serve.chat_app import build_app
    from mindtune.serve.connections import BACKLOG, Complaints, Connection, listen, room

    Connection.most = room(args.requests + MORE_CONNECTIONS)
    asyncio.get_running_loop().set_exception_handler(Complaints())
    listener = listen(args.port)
    port = listener.getsockname()[1]
    write_port(port, args.port_file)
    print(f"serving {args.model_name} on 127.0.0.1:{port}", flush=True)
    # warnings are about what anybody may send: they would fill the log
    config = uvicorn.Config(
        build_app(decoder, args.model_name, key, args.requests), http=Connection, ws="none",
        lifespan="off", access_log=False, log_level="error", backlog=BACKLOG,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    args = parse_args()
    key = Path(os.environ[KEY_VARIABLE]).read_text(encoding="ascii").strip()
    decoder = Decoder(args.model, args.device, args.threads, args.session_len)
    try:
        asyncio.run(answer(args, decoder, key))
    finally:
        decoder.close()


if __name__ == "__main__":
    raise SystemExit(run(main))
