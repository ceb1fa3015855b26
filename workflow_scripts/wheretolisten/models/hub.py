"""Checkpoints on the model hub: fetched once at a pinned commit, checked, and read from the cache from then on.

The cache is huggingface_hub's own (`HF_HUB_CACHE`, or `hub` in `HF_HOME`), so that what other programs fetched is used
and a group shares one copy. Only weights in safetensors and the files that describe them are fetched: no pickles, no
code.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects

from wheretolisten import cache
from wheretolisten.checkpoint import check, check_description, check_names, check_weights, read_json
from wheretolisten.errors import UserError
from wheretolisten.files import refusal

_log = logging.getLogger(__name__)

# Top level only: repositories keep other models in sub-folders (Audio Flamingo 3 its `think/` variant). And no second
# copy of the weights in the form of another library.
_DESCRIPTIONS = {
    "allow_patterns": ["*.json", "*.jinja", "*.txt"],
    "ignore_patterns": ["*/*", "consolidated*.safetensors"],
}
_WANTED = _DESCRIPTIONS | {"allow_patterns": ["*.safetensors", *_DESCRIPTIONS["allow_patterns"]]}


def snapshot_folder(checkpoint: str, revision: str) -> Path:
    """Folder of a fetched repository at a commit, without asking the network.

    Raises
    ------
    UserError
        If the commit is not in the cache, or only in part.
    """
    try:
        return Path(snapshot_download(checkpoint, revision=revision, local_files_only=True, **_WANTED))
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{checkpoint} at revision {revision} is not, or not completely, in the cache {constants.HF_HUB_CACHE}; "
            "fetch it where there is a network: uv run snakemake fetch_models --forceall --configfile <your overlay>"
        ) from error


def fetch(checkpoint: str, revision: str) -> dict[str, Any]:
    """Fetch the model files of a hub repository into the cache and check every one of them.

    Files that are there already are not fetched again, and a connection that breaks is taken up where it broke.

    Parameters
    ----------
    checkpoint
        Repository, `owner/name`.
    revision
        Commit, 40 hexadecimal digits.

    Returns
    -------
    dict
        `checkpoint`, `revision`, `folder` and `files`: for each its `name`, `size` in bytes, and `digest` with the
        `algorithm` it was made by (`sha256`, or `git-sha1` for files that the hub keeps in git itself).

    Raises
    ------
    UserError
        If the repository or commit does not exist or may not be read, the hub cannot be reached, the files show that
        the model cannot be used (see `checkpoint.check`; as far as names and descriptions tell, before the weights are
        fetched), the disk is too small, or a file differs from the digest that the hub states.
    """
    api = HfApi()
    where = f"{checkpoint} at revision {revision}"
    try:
        tree = {
            file.path: file
            for file in api.list_repo_tree(checkpoint, revision=revision, recursive=True)
            if isinstance(file, RepoFile)
        }
        files = {name: tree[name] for name in filter_repo_objects(tree, **_WANTED)}
        names = [name for name in tree if "/" not in name]
        check_names(where, names)
        check_weights(where, names)
        # Small files first: what they rule out should cost nobody the gigabytes. A broken one is replaced below.
        folder = Path(snapshot_download(checkpoint, revision=revision, **_DESCRIPTIONS))
        if read_json(folder / "config.json"):
            check_description(where, folder)
        _check_disk(where, files, checkpoint, revision)
        _log.info("%s: %d files, %.1f GB", where, len(files), sum(file.size for file in files.values()) / 1e9)
        folder = Path(snapshot_download(checkpoint, revision=revision, **_WANTED))
        verification = api.verify_repo_checksums(checkpoint, revision=revision)
    except GatedRepoError as error:
        raise UserError(
            f"{checkpoint}: the repository is gated; accept its licence on its page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{checkpoint}: there is no such repository on {api.endpoint}; correct models.<name>.checkpoint, or log in "
            "with `hf auth login` if it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{where}: there is no such commit; correct models.<name>.revision") from error
    except (HTTPError, OSError) as error:
        # Errors of the network name no file.
        if isinstance(name := getattr(error, "filename", None), str) and (refused := refusal(name, error, "used")):
            raise refused from error
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{where} could not be fetched from {api.endpoint} ({first_line}); run the same command again, it goes on "
            "after the files that are complete"
        ) from error

    damaged = sorted(file["path"] for file in verification.mismatches if file["path"] in files)
    if damaged:
        # Out of the cache with them: a later run would take a file that is there for a good one.
        for name in damaged:
            (folder / name).resolve().unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
        raise UserError(
            f"{where}: {', '.join(damaged)} arrived with another digest than the hub states and was removed; run the "
            "same command again, and tell the owner of the repository if it happens twice"
        )
    check(where, folder)
    return {
        "checkpoint": checkpoint,
        "revision": revision,
        "folder": str(folder),
        "files": [
            {
                "name": name,
                "size": file.size,
                "digest": file.lfs.sha256 if file.lfs else file.blob_id,
                "algorithm": "sha256" if file.lfs else "git-sha1",
            }
            for name, file in sorted(files.items())
        ],
    }


def _check_disk(where: str, files: dict[str, RepoFile], checkpoint: str, revision: str) -> None:
    snapshot = cache.snapshot_folder(checkpoint, revision)
    missing = sum(file.size for name, file in files.items() if not (snapshot / name).exists())
    existing = next(folder for folder in snapshot.absolute().parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise UserError(
            f"{where} takes {missing / 1e9:.1f} GB, but {existing} has {free / 1e9:.1f} GB free; make room, or set "
            "model_cache in the configuration to a larger disk"
        )
