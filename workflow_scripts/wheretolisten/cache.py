"""Where fetched checkpoints lie, known without importing the libraries that read them."""

import os
from pathlib import Path


def use_offline(cache: str | None) -> None:
    """Keep the jobs that this process starts away from the network, and show them the cache of checkpoints.

    Parameters
    ----------
    cache
        Folder of huggingface_hub's cache; None: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    if cache:
        os.environ["HF_HUB_CACHE"] = str(Path(cache).absolute())


def snapshot_folder(checkpoint: str, revision: str, cache: str | None = None) -> Path:
    """Folder of a hub repository at a commit in huggingface_hub's cache, whether it is there or not.

    `cache` as for `use_offline`.
    """
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    folder = Path(cache or os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    return folder / f"models--{checkpoint.replace('/', '--')}" / "snapshots" / revision
