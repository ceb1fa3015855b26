"""What a result was made from: the modules of a script, digests, versions, the commit."""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wheretolisten.checkpoint import folder_of
from wheretolisten.config.sections import Section
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file, write_text

SCRIPTS = Path(__file__).resolve().parent.parent
"""Folder of the scripts, which is also the root that `wheretolisten` is imported from."""

_PACKAGES = ("numpy", "scipy", "h5py", "torch", "transformers", "tokenizers", "accelerate", "trl", "soundfile", "soxr")


@functools.cache
def local_modules(script: str) -> tuple[Path, ...]:
    """A script and every local module that it imports, directly or not, in sorted order.

    Imports are read from the syntax tree, inside functions too, and nothing is executed.

    Parameters
    ----------
    script
        Name of a script in `workflow_scripts/`, without suffix.
    """
    found: set[Path] = set()
    waiting = [SCRIPTS / f"{script}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported_files(path))
    return tuple(sorted(found))


@functools.cache
def _imported_files(path: Path) -> frozenset[Path]:
    return frozenset(file for name in _read(path).imports for file in _files_of(name))


class _Module(NamedTuple):
    """What is read from the source of a module: what it imports, and the digest of what it does."""

    source: str
    """Digest of the source, and of the code that reads it."""

    imports: list[str]
    meaning: str


_KEPT = SCRIPTS / "__pycache__" / f"modules.{sys.implementation.cache_tag}.json"
"""Where modules that were read are kept, beside Python's byte code and like it: reading all takes a third of the time
that Snakemake takes to start."""


@functools.cache
def _kept() -> dict[str, _Module]:
    try:
        return {name: _Module(*module) for name, module in json.loads(_KEPT.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(modules: Mapping[str, _Module]) -> None:
    """Add to the modules that are kept, where Python may keep byte code; a run that may not does without."""
    _kept().update(modules)
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError, UserError):
            write_text(_KEPT, json.dumps(_kept()))


@functools.cache
def _read(path: Path) -> _Module:
    source = path.read_bytes()
    digest = hashlib.sha256(_reader() + source).hexdigest()
    name = path.relative_to(SCRIPTS).as_posix()
    module = _kept().get(name)
    if module is None or module.source != digest:
        tree = ast.parse(source)
        words: list[str] = []
        _spell(tree, words)
        module = _Module(digest, sorted(set(_imported_names(path, tree))), digest_of(words))
        _new[name] = module
    return module


_new: dict[str, _Module] = {}


@functools.cache
def _reader() -> bytes:
    return Path(__file__).read_bytes()


def _imported_names(path: Path, tree: ast.Module) -> Iterable[str]:
    package = path.relative_to(SCRIPTS).with_suffix("").parts[:-1]
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*prefix, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _statements(body: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """Statements with all that are nested in them, as far as imports can be; expressions hold none."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, name, ()))


@functools.cache
def _files_of(name: str) -> tuple[Path, ...]:
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py as well.
    package, _, _ = name.rpartition(".")
    base = SCRIPTS.joinpath(*name.split("."))
    files = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return (_files_of(package) if package else ()) + tuple(files)


def digest_of(*parts: Any) -> str:
    """Hex SHA-256 of JSON-serialisable values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache
def code_digest(script: str) -> str:
    """Hex SHA-256 of what a script and the local modules it imports do: comments, docstrings and layout are no part.

    Rules pass it as a parameter, so that editing a module reruns exactly the rules whose scripts import it, and
    describing it better reruns none. It is the same under every version of Python that reads the syntax alike.
    """
    digest = digest_of([(str(path.relative_to(SCRIPTS)), _read(path).meaning) for path in local_modules(script)])
    if _new:
        _keep(_new)
        _new.clear()
    return digest


def _spell(node: Any, words: list[str]) -> None:
    """Append a syntax tree without docstrings. Written out by hand, because `ast.dump` takes five times as long."""
    if isinstance(node, ast.AST):
        words.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = [each for each in value if not _is_text(each)]
            # Newer versions of Python know more fields, which are empty here.
            if value is not None and value != []:
                words.append(name)
                _spell(value, words)
        words.append(")")
    elif isinstance(node, list):
        for each in node:
            _spell(each, words)
        words.append("]")
    else:
        words.append(repr(node))


def _is_text(statement: ast.AST) -> bool:
    # A docstring of a module, class, function or, as a statement behind it, of a name.
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Commit of the working tree, with "+changes" if it differs from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(SCRIPTS), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(SCRIPTS))
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def checkpoint_files(folder: Path) -> list[Path]:
    """Files of a checkpoint folder that the model consists of; its card and scores are not among them."""
    suffixes = {".json", ".jinja", ".safetensors", ".txt"}
    return sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.name != "scores.json")


def checkpoint_digest(checkpoint: str, revision: str | None) -> str:
    """What identifies a model's weights: digest of the folder's files, or the pinned revision of a hub repository."""
    folder = folder_of(checkpoint)
    if not folder.is_dir():
        return f"{checkpoint}@{revision}"
    return digest_of([(path.name, sha256_of_file(path)) for path in checkpoint_files(folder)])


def of_job(script: str, settings: Section, inputs: Mapping[str, str | Path]) -> tuple[str, dict[str, Any]]:
    """Identity and provenance of a job's result.

    Parameters
    ----------
    script
        Name of the script, without suffix.
    settings
        All configuration that the result depends on; a section with a field `model` names the checkpoint.
    inputs
        Name → input file; each becomes the attribute `<name>_digest`.

    Returns
    -------
    tuple
        A digest of everything that the content depends on, which equal results share, and the attributes to store.
    """
    attributes: dict[str, Any] = {
        "settings": settings.as_json(),
        "code_digest": code_digest(script),
        **{f"{name}_digest": sha256_of_file(path) for name, path in inputs.items()},
    }
    model = getattr(settings, "model", None)
    if model is not None:
        attributes["model"] = model.identity
        attributes["checkpoint"] = model.checkpoint
        attributes["revision"] = model.revision or ""
        attributes["weights"] = model.weights
        attributes["checkpoint_digest"] = checkpoint_digest(model.checkpoint, model.revision)
    identity = digest_of(attributes)
    return identity, attributes | {"script": script, "versions": versions(), "git_commit": git_commit()}
