"""A small stand-in for the Hugging Face Hub: repositories in memory, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """`repositories`: by name, branches and commits; a commit is its files by name."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {}
        self.read_only = False
        self.failing = None  # the status of every answer to GET

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name, files, branch="main"):
        """Add a commit; return its hash."""
        repository = self.repositories.setdefault(name, {"branches": {}, "commits": {}})
        content = json.dumps(sorted((n, hashlib.sha1(f).hexdigest()) for n, f in files.items()))
        sha = hashlib.sha1((branch + content).encode()).hexdigest()
        repository["commits"][sha] = files
        repository["branches"][branch] = sha
        return sha

    def files(self, name, branch="main"):
        repository = self.repositories[name]
        return repository["commits"][repository["branches"][branch]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        if self.server.read_only and path != "/api/validate-yaml":
            return self.send(403, {"error": "Forbidden"})
        if path == "/api/validate-yaml":
            return self.send(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(self.body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, {"branches": {}, "commits": {}})
            return self.send(200, {"url": f"{self.server.address}/{name}", "name": name})
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)", path)
        name, action, branch = match.groups()
        if action == "branch":
            self.server.repositories[name]["branches"].setdefault(branch, None)
            return self.send(200, {})
        if action == "preupload":
            paths = [file["path"] for file in json.loads(self.body)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            return self.send(200, {"files": modes})
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        sha = self.server.add(name, files, branch)
        url = f"{self.server.address}/{name}/commit/{sha}"
        return self.send(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def answer(self):
        if self.server.failing:
            return self.send(self.server.failing, {"error": "it fails"})
        path = self.path.partition("?")[0]
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        action, file = "revision", None
        if match:
            name, action, revision = match.groups()
        else:
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            if match is None:
                return self.send(404, {"error": "what is that?"})
            name, revision, file = match.groups()
        repository = self.server.repositories.get(name)
        if repository is None:
            return self.send(
                404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"}
            )
        sha = repository["branches"].get(revision or "main", revision)
        files = repository["commits"].get(sha)
        if files is None:
            code = {"X-Error-Code": "RevisionNotFound"}
            return self.send(404, {"error": "Invalid rev id"}, **code)
        if file is not None:
            if file not in files:
                return self.send(404, {"error": "no"}, **{"X-Error-Code": "EntryNotFound"})
            etag = hashlib.sha1(files[file]).hexdigest()
            return self.send(200, files[file], **{"ETag": f'"{etag}"', "X-Repo-Commit": sha})
        if action == "tree":
            return self.send(
                200,
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for name, content in files.items()
                ],
            )
        siblings = [{"rfilename": name} for name in files]
        return self.send(200, {"id": name, "modelId": name, "sha": sha, "siblings": siblings})

    def send(self, status, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def running():
    """Serve a hub on this machine while the block lasts."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
