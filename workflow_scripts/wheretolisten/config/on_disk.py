"""What the files that a configuration names already show to be wrong."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from wheretolisten import cache, checkpoint
from wheretolisten.config.examples import MmauQuestions, Pairs, Recordings, Sequences, Symbolic
from wheretolisten.config.layers import Layers, select_layers
from wheretolisten.config.models import Model, pinning_command
from wheretolisten.config.probe import Steering
from wheretolisten.config.studies import Study, check_values
from wheretolisten.config.workflow import Config
from wheretolisten.errors import UserError


def check(config: Config, root: Path) -> None:
    """Refuse paths that lead nowhere, and what a checkpoint's files already show to be wrong."""
    for name, library in config.sounds.items():
        for key, kind in (("path", "folder"), ("csv", "file"), ("audio", "folder")):
            if hasattr(library, key):
                _check_path(f"sounds.{name}.{key}", getattr(library, key), kind, root)
    for name, questions in config.questions.items():
        if isinstance(questions, MmauQuestions):
            _check_path(f"examples.{name}.path", questions.path, "file", root)
            _check_path(f"examples.{name}.audio", questions.audio, "folder", root)
    for name, recordings in config.examples.items():
        if isinstance(recordings, Recordings):
            _check_path(f"examples.{name}.audio", recordings.audio, "folder", root)
            for key in ("csv", "events", "names"):
                if (path := getattr(recordings, key)) is not None:
                    _check_path(f"examples.{name}.{key}", path, "file", root)
    for name, pairs in config.examples.items():
        if isinstance(pairs, Pairs):
            for path in pairs.path:
                _check_path(f"examples.{name}.path", path, "file", root)
    for name, study in config.of_pairs.items():
        for key, path in getattr(study, study.readout).files.items():
            _check_path(f"studies.{name}.{study.readout}.{key}", path, "file", root)
    for name, model in config.models.items():
        _check_checkpoint(name, model, config, root)


def _check_path(key: str, path: str, kind: Literal["file", "folder"], root: Path) -> None:
    if not ((root / path).is_file() if kind == "file" else (root / path).is_dir()):
        from_where = "" if root == Path.cwd() or Path(path).is_absolute() else f" in {root}"
        raise UserError(
            f"{key}: {path!r} does not exist as a {kind}{from_where}; correct the path or put the files there"
        )


def _check_checkpoint(name: str, model: Model, config: Config, root: Path) -> None:
    """Refuse what a checkpoint's files already show to be wrong; all of a hub repository's when it is fetched."""
    where = f"models.{name}.checkpoint"
    folder = root / model.checkpoint
    to_make = checkpoint.made(folder)
    if to_make is not None and model.revision is None and model.weights == "pretrained":
        _check_fit(name, model, config, folder, to_make.description)
        return
    if not folder.is_dir():
        if model.weights == "random":
            raise UserError(
                f"{where}: {model.checkpoint!r} is not an existing folder; random weights need one with config.json "
                "and the processor's files, such as resources/rehearsal-qwen2-audio"
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model.checkpoint):
            raise UserError(
                f"{where}: {model.checkpoint!r} is neither an existing folder nor a hub repository (owner/name); "
                "correct it"
            )
        if model.revision is None:
            raise UserError(
                f"{where}: {model.checkpoint!r} is neither an existing folder nor a hub repository with a pinned "
                "revision; correct the path, or add the key revision with a commit, the current one is printed by: "
                f"{pinning_command(model.checkpoint)}"
            )
        # Fetched, in part perhaps: the jobs check the rest, and a refusal of what is missing would keep a fetch from
        # completing it. What is there and rules the model out will not go away: a commit does not change.
        folder = cache.snapshot_folder(model.checkpoint, model.revision, config.model_cache)
        if folder.is_dir():
            checkpoint.check_names(where, [path.name for path in folder.iterdir()])
        description = checkpoint.read_json(folder / "config.json")
        if description:
            checkpoint.check_description(where, folder)
        _check_fit(name, model, config, folder, description)
        return
    if model.revision is not None:
        raise UserError(
            f"models.{name}.revision: {model.checkpoint!r} is a folder, which has no revision; set "
            "revision to null, or rename the folder if the hub repository is meant"
        )
    description = checkpoint.check(where, folder, model.weights)
    _check_fit(name, model, config, folder, description)


def _check_fit(name: str, model: Model, config: Config, folder: Path, description: Mapping[str, Any]) -> None:
    """Refuse layers that a model does not have, and samples that are too long for it."""
    # Published files leave out what equals the class's default; then the job that loads the model checks the blocks.
    text_stack = checkpoint.text_stack_of(description)
    n_layers = None if text_stack is None else text_stack.get("num_hidden_layers")
    if checkpoint.reads_text_only(description):
        _check_symbolic(name, model, config)
    if n_layers is not None:
        _check_blocks_of_effects(name, config, n_layers)
    steerings = config.steerings
    localizations = {f"methods.{key}.localization": method.localization for key, method in config.methods.items()}
    for key, section in (steerings | {"localization": config.localization} | localizations).items():
        try:
            if n_layers is not None:
                select_layers(section.layers, n_layers)
        except UserError as error:
            raise UserError(f"{key}.layers: {error} (model {name!r})") from None
    for key, steering in steerings.items():
        try:
            if n_layers is not None:
                steering.scales(n_layers)
        except UserError as error:
            raise UserError(f"{key}.{error} (model {name!r})") from None
    for sweep, settings in config.sweeps.items():
        # A rehearsal makes none.
        if name in config.sweep_models(sweep) and text_stack is not None and not config.rehearsal:
            try:
                check_values(sweep, settings.variation, config.sweep_probe(sweep), text_stack)
            except UserError as error:
                raise UserError(f"{error} (model {name!r})") from None
    seconds = checkpoint.longest_audio(folder, description)
    n_positions = None if text_stack is None else text_stack.get("max_position_embeddings")
    for examples, settings in config.examples.items():
        longest = config.longest_seconds(examples)
        if isinstance(settings, Symbolic):
            n_tokens = math.ceil(longest * settings.tokens_per_second)
            if n_positions is not None and n_tokens >= n_positions:
                raise UserError(
                    f"models.{name}.checkpoint: {model.checkpoint!r} reads at most {n_positions} tokens, but samples "
                    f"of {examples!r} have up to {n_tokens}; lower tokens_per_second, or take the model out"
                )
            continue
        if seconds is None or longest <= seconds:
            continue
        if isinstance(settings, MmauQuestions):
            problem = f"recordings of {examples!r} may last {longest:g} s; lower its max_seconds"
        elif isinstance(settings, Sequences):
            problem = f"samples of {examples!r} last up to {longest:g} s; shorten its clip_seconds or gap_seconds"
        else:
            continue  # they are about sequences, which are checked
        raise UserError(
            f"models.{name}.checkpoint: {model.checkpoint!r} hears at most {seconds:g} s, but {problem}, or take the "
            "model out"
        )


def _check_blocks_of_effects(name: str, config: Config, n_layers: int) -> None:
    """Refuse blocks that studies of effects try or edit, and a model does not have."""
    named: list[tuple[str, Layers, Steering]] = []
    for study, settings in config.effects.items():
        where, effects = f"studies.{study}.effects", settings.effects
        named += [(f"{where}.layers", layers, Steering()) for layers in effects.layers]
        for arm, given in effects.arms.items():
            of_arm = [(f"{where}.arms.{arm}.layers", given.layers)] if given.layers is not None else []
            tried = of_arm or [(f"{where}.arms.{arm}.steering", layers) for layers in effects.layers]
            named += [(key, layers, given.steering) for key, layers in tried if given.build is not None]
    for study, settings in config.unlearnings.items():
        if settings.unlearning.block is not None:
            named.append((f"studies.{study}.unlearning.block", [settings.unlearning.block], Steering()))
    for key, layers, steering in named:
        try:
            steering.model_copy(update={"layers": layers}).scales(n_layers)
        except UserError as error:
            raise UserError(f"{key}: {error} (model {name!r})") from None


def _check_symbolic(name: str, model: Model, config: Config) -> None:
    """Refuse a model without ears where a study is about recordings."""
    for study, settings in config.studies.items():
        if isinstance(settings, Study) and not isinstance(config.examples[settings.examples], Symbolic | Pairs):
            raise UserError(
                f"models.{name}.checkpoint: {model.checkpoint!r} reads text only, and study {study!r} is about "
                f"recordings ({settings.examples!r}); take one of the two out, or give the study examples of type "
                "symbolic or pairs"
            )
