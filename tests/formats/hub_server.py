"""A server that speaks as much of the Hub's API as datasets and models need: `python hub_server.py` prints its port.

Repositories are in memory. Large files travel by LFS's basic transfer, as on the Hub; the owner `nobody` may not be written to,
and a commit to a repository of the owner `flaky` fails once with 503.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

repos: dict[str, dict[str, Any]] = {}
objects: dict[str, bytes] = {}
failed: set[str] = set()
TOKEN = "hf_test"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(
        self, status: int, value: object = None, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> None:
        content = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        once = f"{self.command} {path}"
        if "/flaky/" in path and "/commit/" in path and once not in failed:
            failed.add(once)
            self.reply(503, {"error": "busy"})
            return
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method in (self.command, "ANY"):
                answer(self, content, *found.groups())
                return
        self.reply(404, {"error": f"no route {self.command} {path}"}, {"X-Error-Code": "EntryNotFound"})

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

    def repo(self, name: str, revision: str = "main") -> dict[str, Any] | None:
        repo = repos.get(name)
        if repo is None or (repo["private"] and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        if revision not in ("main", repo["sha"], *repo["tags"]):
            self.reply(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repo

    def create(self, content: bytes) -> None:
        asked = json.loads(content)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply(401, {"error": "Invalid username or password."})
        elif name.startswith("nobody/"):
            self.reply(403, {"error": "You don't have the rights to create a dataset under the namespace nobody"})
        else:
            status = 409 if name in repos else 200
            repos.setdefault(name, {"files": {}, "sha": "0" * 40, "tags": {}, "private": bool(asked.get("private"))})
            self.reply(status, {"url": f"http://{self.headers['Host']}/datasets/{name}"})

    def preupload(self, content: bytes, name: str, revision: str) -> None:
        if repo := self.repo(name):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs"
                    if re.search(r"\.(parquet|mp4|lance|bin|safetensors|tfrecord.*)$", file["path"])
                    else "regular",
                    "shouldIgnore": False,
                    "oid": repo["files"].get(file["path"], {}).get("oid"),
                }
                for file in json.loads(content)["files"]
            ]
            self.reply(200, {"files": modes})

    def lfs_batch(self, content: bytes, name: str) -> None:
        listed: list[dict[str, Any]] = []
        for item in json.loads(content)["objects"]:
            upload = {"href": f"http://{self.headers['Host']}/objects/{item['oid']}"}
            listed.append(dict(item) if item["oid"] in objects else {**item, "actions": {"upload": upload}})
        self.reply(200, {"transfer": "basic", "objects": listed})

    def put_object(self, content: bytes, oid: str) -> None:
        assert hashlib.sha256(content).hexdigest() == oid
        objects[oid] = content
        self.reply(200, {})

    def commit(self, content: bytes, name: str, revision: str) -> None:
        if not (repo := self.repo(name)):
            return
        for line in content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                blob = base64.b64decode(value["content"])
                repo["files"][value["path"]] = {"content": blob, "oid": git_oid(blob)}
            elif entry["key"] == "lfsFile":
                blob = objects[value["oid"]]
                repo["files"][value["path"]] = {"content": blob, "oid": value["oid"], "lfs": value["oid"]}
            elif entry["key"] == "deletedFile":
                repo["files"].pop(value["path"], None)
        names = json.dumps({path: file["oid"] for path, file in sorted(repo["files"].items())})
        repo["sha"] = hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()
        url = f"http://{self.headers['Host']}/datasets/{name}/commit/{repo['sha']}"
        self.reply(200, {"commitUrl": url, "commitOid": repo["sha"], "success": True})

    def info(self, content: bytes, name: str, revision: str = "main") -> None:
        if repo := self.repo(name, revision):
            siblings = [{"rfilename": path} for path in sorted(repo["files"])]
            self.reply(200, {"id": name, "sha": repo["sha"], "private": repo["private"], "siblings": siblings, "tags": []})

    def tree(self, content: bytes, name: str, revision: str) -> None:
        if repo := self.repo(name, revision):
            rows = []
            for path, file in sorted(repo["files"].items()):
                size = len(file["content"])
                row: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": file["oid"]}
                if "lfs" in file:
                    row["lfs"] = {"oid": file["lfs"], "size": size, "pointerSize": 130}
                rows.append(row)
            self.reply(200, rows)

    def resolve(self, content: bytes, name: str, revision: str, path: str) -> None:
        if repo := self.repo(name, revision):
            file = repo["files"].get(path)
            if file is None:
                self.reply(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                return
            headers = {"ETag": f'"{file["oid"]}"', "X-Repo-Commit": repo["sha"], "Content-Type": "application/octet-stream"}
            self.reply(200, None, headers, file["content"])

    def refs(self, content: bytes, name: str) -> None:
        if repo := self.repo(name):
            tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": sha} for tag, sha in repo["tags"].items()]
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo["sha"]}
            self.reply(200, {"branches": [main], "tags": tags, "converts": []})

    def tag(self, content: bytes, name: str, revision: str) -> None:
        if repo := self.repo(name):
            if self.command == "DELETE":
                known = repo["tags"].pop(revision, None)
                self.reply(200 if known else 404, {}, {} if known else {"X-Error-Code": "RevisionNotFound"})
                return
            repo["tags"][json.loads(content)["tag"]] = repo["sha"]
            self.reply(200, {})

    def damage(self, content: bytes, name: str, path: str) -> None:
        """For tests: change a byte of a stored file, as a bad disk does."""
        file = repos[name]["files"][path]
        file["content"] = file["content"][:-1] + bytes([file["content"][-1] ^ 1])
        self.reply(200, {})

    def lie(self, content: bytes, name: str) -> None:
        """For tests: list a file of any name, and be at any commit."""
        lies = json.loads(content)
        repo = repos.setdefault(name, {"files": {}, "sha": "0" * 40, "tags": {}, "private": False})
        repo["files"] = {path: {"content": b"evil", "oid": git_oid(b"good")} for path in lies["files"]}
        repo["sha"] = lies.get("sha", "0" * 40)
        self.reply(200, {})

    def accept(self, content: bytes) -> None:
        self.reply(200, {"errors": [], "warnings": [], "name": "me", "type": "user", "orgs": []})


_REPO = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.accept),
    ("GET", r"/api/whoami-v2", Handler.accept),
    ("POST", rf"/api/(?:datasets|models)/{_REPO}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"(?:/datasets)?/{_REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/objects/(\w+)", Handler.put_object),
    ("POST", rf"/api/(?:datasets|models)/{_REPO}/commit/([^/]+)", Handler.commit),
    ("GET", rf"/api/(?:datasets|models)/{_REPO}/refs", Handler.refs),
    ("ANY", rf"/api/(?:datasets|models)/{_REPO}/tag/(.+)", Handler.tag),
    ("GET", rf"/api/(?:datasets|models)/{_REPO}/tree/([^/]+)/?", Handler.tree),
    ("GET", rf"/api/(?:datasets|models)/{_REPO}/revision/([^/]+)", Handler.info),
    ("GET", rf"/api/(?:datasets|models)/{_REPO}", Handler.info),
    ("POST", rf"/damage/{_REPO}/(.+)", Handler.damage),
    ("POST", rf"/lie/{_REPO}", Handler.lie),
    ("ANY", rf"(?:/datasets)?/{_REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
]

if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
