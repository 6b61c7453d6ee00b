"""Folders of datasets and models to and from the Hugging Face Hub. What was downloaded is compared with the Hub's checksums.

Tokens, proxies, the address of another server (`HF_ENDPOINT`), retries and the resumption of large files are those of
`huggingface_hub`. A call that was interrupted is repeated: files that are there already do not travel again. What a server
lists is checked before it becomes a path: names stay within the folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from soar.errors import ConfigError, HubError
from soar.files import is_inside

Kind = Literal["dataset", "model"]
_BLOCK_BYTES = 2**20
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_WAITS_S = (1.0, 4.0)
_log = logging.getLogger(__name__)


def push(
    folder: Path,
    repo: str,
    *,
    kind: Kind = "dataset",
    private: bool = False,
    message: str = "Dataset",
    tag: str | None = None,
) -> str:
    """Upload the files of a folder to a repository, which is made when it is missing.

    Files of an earlier upload that the folder does not have any more are deleted there; its history keeps them.

    Args:
        folder: A complete dataset, see `soar.formats`, or a model.
        repo: `owner/name`.
        kind: Of repository.
        private: Only for a repository that is made now.
        message: Of the commit.
        tag: A name for this state; moved when it exists.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: `huggingface_hub` is not installed.
        HubError: The Hub refuses it or cannot be reached.
    """
    api = _api()
    with _explaining("push to", repo):
        api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        upload = partial(api.upload_folder, repo_id=repo, repo_type=kind, folder_path=folder, delete_patterns="*")
        done = _patiently(partial(upload, commit_message=message))
        if tag is not None:
            _move_tag(api, repo, tag, kind)
        return str(done.commit_url)


def pull(repo: str, folder: Path, *, kind: Kind = "dataset", revision: str | None = None) -> str:
    """Download a repository into a folder, and verify every file.

    Args:
        repo: `owner/name`.
        folder: Gets the files; those that are there and the same stay.
        kind: Of repository.
        revision: Branch, tag or commit; the newest state of `main` by default.

    Returns:
        The commit.

    Raises:
        ConfigError: `huggingface_hub` is not installed.
        HubError: There is no such repository or revision, the Hub cannot be reached, what it lists is no file of a dataset,
            or a file is damaged.
    """
    api = _api()
    with _explaining("pull", repo):
        # Asked first: when the Hub cannot be reached, the download would be content with what is in the folder.
        info = api.repo_info(repo, repo_type=kind, revision=revision)
        commit = str(info.sha)
        entries = list(api.list_repo_tree(repo, repo_type=kind, revision=commit, recursive=True))
        _check_names(repo, commit, [entry.path for entry in entries] + [file.rfilename for file in info.siblings or ()])
        api.snapshot_download(repo, repo_type=kind, revision=commit, local_dir=folder)
    for entry in entries:
        if getattr(entry, "blob_id", None) is not None:
            _verify(folder / entry.path, entry)
    return commit


def _api() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("the Hub needs huggingface_hub. Install it: pip install 'soar-robot[hub]'")
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="soar-robot")


def _patiently(call: Callable[[], Any]) -> Any:
    """Call again after a server's error: `huggingface_hub` repeats all but the commit. A repeated one changes nothing more."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    for wait_s in _WAITS_S:
        try:
            return call()
        except (HfHubHTTPError, httpx2.TransportError) as error:
            response = getattr(error, "response", None)
            if response is not None and response.status_code < 500:
                raise
            _log.warning("the upload is tried again in %g s: %s", wait_s, _first_line(error))
            time.sleep(wait_s)
    return call()


def _move_tag(api: Any, repo: str, tag: str, kind: Kind) -> None:
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        api.delete_tag(repo, tag=tag, repo_type=kind)
    except RevisionNotFoundError:
        _log.debug("%s has no tag %s yet", repo, tag)
    api.create_tag(repo, tag=tag, repo_type=kind)


def _check_names(repo: str, commit: str, names: Sequence[object]) -> None:
    """Refuse a listing before anything of it becomes a path, or a line in the terminal."""
    wrong = "" if _COMMIT.fullmatch(commit) else f"its commit is called {commit[:80]!r}"
    for name in names:
        if not (isinstance(name, str) and is_inside(name) and name.isprintable()):
            wrong = f"it lists a file {str(name)[:80]!r}, which is no name for a file in a folder"
    if wrong:
        raise HubError(f"refused to pull {repo}: {wrong}. Nothing was downloaded; do not trust this server or repository")


def _verify(path: Path, entry: Any) -> None:
    """Compare a file with its SHA-256 (a large file) or its git object's name (a small one)."""
    if entry.lfs is not None:
        digest, expected = hashlib.sha256(), entry.lfs.sha256
    else:
        digest, expected = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False), entry.blob_id
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise HubError(f"{path} was downloaded and cannot be read: {error.strerror or error}; pull again") from error
    if digest.hexdigest() != expected:
        path.unlink()
        raise HubError(f"{path} was damaged on the way or on the Hub, and is deleted here; pull again")


@contextmanager
def _explaining(action: str, repo: str) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into an error that says what to do."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def because(why: str) -> HubError:
        return HubError(f"cannot {action} {repo} at {os.environ.get('HF_ENDPOINT', constants.ENDPOINT)}: {why}")

    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{repo!r} is not the name of a repository; name OWNER/NAME") from error
    except RevisionNotFoundError as error:
        raise because("there is no such revision; name a branch, a tag or a commit with --revision") from error
    except (RepositoryNotFoundError, LocalTokenNotFoundError) as error:
        raise because("it does not exist, or you may not see it. Log in with `hf auth login`, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            why = "you may not do that. Log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        else:
            why = f"{_first_line(error)}. What was transferred is kept: run the same command again"
        raise because(why) from error
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        raise because(f"{_first_line(error)}. What was transferred is kept: run the same command again") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
