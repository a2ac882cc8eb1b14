"""A chat server of ours that keeps every request as it came over the wire, and answers by a
function of the messages.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[int, dict[str, Any]], tuple[int, bytes]]


def completion(text: str, **about: Any) -> bytes:
    """The body of a chat completion."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": usage}
    return json.dumps(body | {"choices": [choice]} | about, ensure_ascii=False).encode()


class Recorded:
    """The address of a running server, and the bodies and headers of its requests."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    def messages(self) -> list[list[dict[str, str]]]:
        """The messages of every request."""
        return [json.loads(body)["messages"] for body in self.bodies]


@contextmanager
def recording_server(answer: Answer) -> Iterator[Recorded]:
    """Serve on a free port of this machine; `answer` gets the request's number, from 0, and its
    body, and gives status and body.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                number = len(recorded.bodies)
                recorded.bodies.append(body)
                recorded.headers.append({k.lower(): v for k, v in self.headers.items()})
            status, content = answer(number, json.loads(body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorded = Recorded(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
