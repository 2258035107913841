"""A small hub on this machine: the few endpoints that ``huggingface_hub`` asks when a policy is pushed and pulled.

Repositories live in memory, in commits that hold whole trees. Faults are put in on purpose: a status for a request,
or a connection that is cut. What is wrong with a request is told in words that hold the token: a test looks that
nobody says them on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

OWNER = "hf_0123456789abcdefOWNER"
READER = "hf_0123456789abcdefREADER"
FIRST = {".gitattributes": b"*.safetensors filter=lfs\n"}


@dataclass
class Repo:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)  # checksums of what came as large files

    def commit(self, branch: str, tree: dict[str, bytes]) -> str:
        told = json.dumps([self.branches.get(branch), sorted((n, sha256(c)) for n, c in tree.items())])
        name = hashlib.sha1(told.encode()).hexdigest()
        self.commits[name] = tree
        self.branches[branch] = name
        return name

    def at(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


class Hub:
    """The hub; ``with Hub().served() as address``.

    Attributes:
        repos: by id.
        store: large files, by checksum.
        faults: (pattern of "METHOD path", status or None to cut the connection), each for so many requests.
        seen: "METHOD path" of every request.
        bearers: what came as authorization.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.store: dict[str, bytes] = {}
        self.faults: list[list] = []
        self.seen: list[str] = []
        self.bearers: set[str] = set()

    def fail(self, pattern: str, status: int | None, times: int = 1) -> None:
        self.faults.append([pattern, status, times])

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.seen)

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        line = f"{method} {path}"
        self.hub.seen.append(line)
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.token:
            self.hub.bearers.add(self.token)
        for fault in self.hub.faults:
            if fault[2] and re.search(fault[0], line):
                fault[2] -= 1
                if fault[1] is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._refuse(fault[1], f"refused, you came with Bearer {self.token}")
                return
        for pattern, handle in _ROUTES:
            if found := re.fullmatch(pattern, line):
                handle(self, *found.groups())
                return
        self._refuse(404, f"no such route: {line}")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), Content_Type="application/json")

    def _refuse(self, status: int, message: str, code: str = "") -> None:
        headers = {"X_Error_Message": message, **({"X_Error_Code": code} if code else {})}
        self._send(
            status, json.dumps({"error": message}).encode(), Content_Type="application/json", **headers
        )

    def _writer(self) -> bool:
        if self.token == OWNER:
            return True
        known = self.token == READER
        self._refuse(
            403 if known else 401, f"token {self.token} may not write" if known else f"who is {self.token}?"
        )
        return False

    def _repo(self, repo_id: str) -> Repo | None:
        repo = self.hub.repos.get(repo_id)
        if repo is None or (repo.private and self.token not in (OWNER, READER)):
            self._refuse(
                401 if not self.token else 404, f"Repository not found, {self.token}", "RepoNotFound"
            )
            return None
        return repo

    def _tree(self, repo_id: str, revision: str) -> tuple[Repo, str, dict[str, bytes]] | None:
        if (repo := self._repo(repo_id)) is None:
            return None
        if (commit := repo.at(revision)) is None:
            self._refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return None
        return repo, commit, repo.commits[commit]

    def create(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        if not self._writer():
            return
        if repo_id in self.hub.repos:
            self._json({"error": "You already created this model repo", "url": repo_id}, 409)
            return
        repo = self.hub.repos[repo_id] = Repo(
            asked.get("visibility") == "private" or asked.get("private", False)
        )
        repo.commit("main", dict(FIRST))
        self._json({"url": f"http://{self.headers['Host']}/{repo_id}", "name": repo_id, "id": "1"})

    def validate(self) -> None:
        errors = (
            [] if json.loads(self.body)["content"].startswith("---\n") else [{"message": "no front matter"}]
        )
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def info(self, repo_id: str, revision: str | None = None) -> None:
        if (found := self._tree(repo_id, revision or "main")) is not None:
            repo, commit, tree = found
            files = [{"rfilename": name} for name in sorted(tree)]
            said = {"_id": "1", "id": repo_id, "modelId": repo_id, "sha": commit, "private": repo.private}
            self._json({**said, "siblings": files, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, repo_id: str, revision: str) -> None:
        if (found := self._tree(repo_id, revision)) is None:
            return
        repo, _, tree = found
        self._json([_entry(repo, name, content) for name, content in sorted(tree.items())])

    def branch(self, repo_id: str, name: str) -> None:
        if not self._writer() or (repo := self._repo(repo_id)) is None:
            return
        if name in repo.branches:
            self._refuse(409, "Reference already exists")
            return
        repo.branches[name] = repo.branches["main"]
        self._json({})

    def preupload(self, repo_id: str, revision: str) -> None:
        if not self._writer() or (found := self._tree(repo_id, revision)) is None:
            return
        repo, _, tree = found
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
                "oid": _oid(repo, file["path"], tree),
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files, "commitOid": repo.at(revision)})

    def lfs_batch(self, repo_id: str) -> None:
        if not self._writer():
            return
        objects = []
        for asked in json.loads(self.body)["objects"]:
            href = f"http://{self.headers['Host']}/lfs/{asked['oid']}"
            missing = asked["oid"] not in self.hub.store
            objects.append(asked | ({"actions": {"upload": {"href": href}}} if missing else {}))
        self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if sha256(self.body) != oid:
            self._refuse(400, "another checksum")
            return
        self.hub.store[oid] = self.body
        self._send(200, b"")

    def commit(self, repo_id: str, revision: str) -> None:
        if not self._writer() or (found := self._tree(repo_id, revision)) is None:
            return
        repo, parent, before = found
        tree = dict(before)
        for line in self.body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header" and value.get("parentCommit") not in (None, parent):
                self._refuse(412, "The main branch was updated since you opened this page")
                return
            if said["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            if said["key"] == "lfsFile":
                tree[value["path"]] = self.hub.store[value["oid"]]
                repo.large.add(value["oid"])
            if said["key"] == "deletedFile":
                del tree[value["path"]]
        commit = repo.commit(revision, tree)
        self._json(
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"/{repo_id}/commit/{commit}",
                "hookOutput": "",
            }
        )

    def resolve(self, repo_id: str, revision: str, name: str) -> None:
        if (found := self._tree(repo_id, revision)) is None:
            return
        repo, commit, tree = found
        if name not in tree:
            self._refuse(404, "Entry not found", "EntryNotFound")
            return
        entry = _entry(repo, name, tree[name])
        etag = entry.get("lfs", entry)["oid"]
        self._send(200, tree[name], X_Repo_Commit=commit, ETag=f'"{etag}"', Accept_Ranges="bytes")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _entry(repo: Repo, name: str, content: bytes) -> dict:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if sha256(content) in repo.large:
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def _oid(repo: Repo, name: str, tree: dict[str, bytes]) -> str | None:
    """What a client compares with before it sends a file again: of a large one SHA-256."""
    if name not in tree:
        return None
    entry = _entry(repo, name, tree[name])
    return entry.get("lfs", entry)["oid"]


_ID = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"GET /api/models/{_ID}", _Handler.info),
    (rf"GET /api/models/{_ID}/revision/(.+)", _Handler.info),
    (rf"GET /api/models/{_ID}/tree/([^/]+)", _Handler.tree),
    (rf"POST /api/models/{_ID}/branch/(.+)", _Handler.branch),
    (rf"POST /api/models/{_ID}/preupload/(.+)", _Handler.preupload),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (r"PUT /lfs/(\w+)", _Handler.lfs_put),
    (rf"POST /api/models/{_ID}/commit/(.+)", _Handler.commit),
    (rf"(?:GET|HEAD) /{_ID}/resolve/([^/]+)/(.+)", _Handler.resolve),
)
