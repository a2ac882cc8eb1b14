"""A model hub on this machine that answers as ModelScope and Hugging Face do."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The few requests of Hugging Face's and ModelScope's protocols that a snapshot needs."""

    files: dict[str, bytes] = {}

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path, _, query = self.path.partition("?")
        if path.startswith("/api/v1/"):
            self.answer_modelscope(path, parse_qs(query), body)
        elif "/revision/" in path:
            content = {
                "_id": "1",
                "id": "研究/对话",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in self.files],
            }
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif "/tree/" in path:
            content = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name, data in self.files.items()
            ]
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif (
            "/resolve/" in path
            and (data := self.files.get(path.split(f"/resolve/{COMMIT}/")[-1])) is not None
        ):
            self.send(
                data, body, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            )
        else:
            self.send_response(404 if path != "/" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer_modelscope(self, path, query, body):
        if path.endswith(("/repo/tree", "/repo/files")):
            files = [
                {
                    "Path": name,
                    "Name": name,
                    "Type": "blob",
                    "Size": len(data),
                    "Sha256": hashlib.sha256(data).hexdigest(),
                }
                for name, data in self.files.items()
            ]
            content = {
                "Code": 200,
                "Success": True,
                "Data": {"Files": files, "TotalCount": len(files)},
            }
            self.send(json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        elif "FilePath" in query:
            self.send(self.files[query["FilePath"][0]], body, {})
        else:
            self.send(b"{}", body, {})

    def send(self, data, body, headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass
