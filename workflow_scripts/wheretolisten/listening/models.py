"""Which model listens: one of the configuration, by name, or a checkpoint in a folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from wheretolisten import provenance
from wheretolisten.checkpoint import folder_of
from wheretolisten.config.labels import known_instead
from wheretolisten.config.models import Model
from wheretolisten.config.sections import first_sentence
from wheretolisten.errors import UserError

_ROOT = provenance.SCRIPTS.parent
CALIBRATIONS = _ROOT / "resources" / "listening.json"
"""What evaluate_listening.py found out about models."""

_SMALL, _TINY = "small-qwen2-audio", "tiny-qwen2-audio"
_SMALL_FOLDER = "results/checkpoints/small-qwen2-audio"


@dataclass(frozen=True)
class Choice:
    """A model, what it is called, and where its files are."""

    name: str
    model: Model

    @property
    def folder(self) -> Path:
        """Its checkpoint; a relative path starts from the repository."""
        return folder_of(self.model.checkpoint)


def choose(name: str | None) -> Choice:
    """The model of a name in config.yaml, or of a folder; None: the small one where it is at hand, else a tiny one.

    Raises
    ------
    UserError
        If there is neither a model of that name nor a folder, or the model has to be fetched.
    """
    found = {key: section for key, section in _configured().items() if section}
    small = Path(_SMALL_FOLDER)
    if (_ROOT / small / "config.json").is_file():
        found.setdefault(_SMALL, {"checkpoint": str(small)})
    if name is None:
        name = _SMALL if _SMALL in found else _TINY
    if name in found:
        try:
            choice = Choice(name, Model.model_validate(found[name]))
        except ValidationError as error:
            raise UserError(f"config.yaml: models.{name}: {first_sentence(error, '')}") from error
        if not choice.folder.is_dir():
            raise UserError(
                f"the model {name!r} is not in {choice.folder}; name the folder that it was fetched to with --model"
            )
        return choice
    if (Path(name) / "config.json").is_file():
        return Choice(Path(name).resolve().name, Model(checkpoint=str(Path(name).resolve())))
    raise UserError(_unknown(name, found))


def _unknown(name: str, known: Iterable[str]) -> str:
    if name == _SMALL:
        return (
            f"the model {_SMALL!r} has not been made; make it with "
            "uv run --group small snakemake --cores 2 convert_small_qwen2_audio, or leave --model out"
        )
    if Path(name).is_dir():
        return f"--model {name}: the folder holds no config.json; name the folder of a checkpoint"
    return f"--model {name}: there is no such model or folder; {known_instead(name, list(known))}"


def _configured() -> dict[str, dict]:
    return yaml.safe_load((_ROOT / "config.yaml").read_text(encoding="utf-8"))["models"]
