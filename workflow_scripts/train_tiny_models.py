"""Train one tiny LALM and write it, with scores and model card, into a folder that `from_pretrained` reads."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from wheretolisten import log
from wheretolisten.arguments import wrong_settings
from wheretolisten.tiny.architecture import FAMILIES
from wheretolisten.tiny.train import SHIPPED, TinyTrainingSettings, train


def main(argv: list[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--settings", default="{}", help="changes to those of the shipped model, JSON")
    arguments = parser.parse_args(argv)
    try:
        changes = TinyTrainingSettings.model_validate_json(arguments.settings).model_dump(exclude_unset=True)
        settings = TinyTrainingSettings(**SHIPPED[arguments.model].model_dump() | changes)
    except ValidationError as error:
        raise wrong_settings(error, TinyTrainingSettings) from error
    train(arguments.model, arguments.output, settings)


if __name__ == "__main__":
    log.start("train_tiny_models")
    log.run(main)
