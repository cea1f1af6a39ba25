"""A W&B server on loopback that takes what it is sent and keeps it."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = 40 * "a"
PROJECT = {"name": "lnq", "entity": {"name": "me"}}


class WandbStub:
    """What arrived: by run id the rows of its history, its configuration, its group, its files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.config: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, str | None] = {}
        self.files: dict[str, bytes] = {}
        self.views: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.everything = b""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead W&B here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL response."""
        if operation == "RunResumeStatus":
            return {"model": self._known(given["name"])}
        if operation == "UpsertBucket":
            return {"upsertBucket": self._upsert(given)}
        if operation == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.url}/file/{f}"} for f in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            self.artifacts.append(given["input"])
            # "Committed" says that the server has such files already.
            known = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}
            return {"createArtifact": {"artifact": known}}
        if operation == "UpsertView2":
            self.views.append({**given, "spec": json.loads(given["spec"])})
            view = {"id": "v", "name": given["name"]}
            return {"upsertView": {"view": view, "inserted": True}}
        return {
            "project": None,  # no artefact of that name yet
            "viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"},
            "serverInfo": {"features": []},
        }

    def stream(self, run: str, files: dict[str, Any]) -> None:
        """Takes lines of a run's files, from an offset on."""
        if part := files.get("wandb-history.jsonl"):
            rows = self.history.setdefault(run, [])
            rows[part["offset"] :] = [json.loads(line) for line in part["content"]]

    def _known(self, run: str) -> dict[str, Any] | None:
        if run not in self.config:
            return None
        rows = self.history.get(run, [])
        bucket = {
            "id": "b", "name": run, "displayName": run, "summaryMetrics": "{}", "tags": [],
            "historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(rows[-1])] if rows else []), "eventsTail": "[]",
            "config": json.dumps(self.config[run]), "wandbConfig": '{"t": 1}', "notes": None,
        }  # fmt: skip
        return {"id": "p", **PROJECT, "bucket": bucket}

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        run = given["name"]
        self.config.setdefault(run, {}).update(json.loads(given["config"] or "{}"))
        self.groups[run] = given["groupName"] or self.groups.get(run)
        bucket = {"id": "b", "name": run, "displayName": given["displayName"], "project": PROJECT}
        return {"bucket": {**bucket, "sweepName": None, "historyLineCount": 0}, "inserted": True}


@contextmanager
def wandb_stub() -> Iterator[WandbStub]:
    """A stub that serves while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.stub = WandbStub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.stub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def stub(self) -> WandbStub:
        return self.server.stub

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        self.stub.files[self.path.removeprefix("/file/")] = self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            sent = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
            name = operation[1] if operation else ""
            self._reply({"data": self.stub.answer(name, sent.get("variables") or {})})
            return
        if self.path.endswith("/file_stream"):
            self.stub.stream(self.path.split("/")[-2], json.loads(body).get("files") or {})
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.stub.everything += body
        return body

    def _reply(self, content: dict[str, Any]) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)
