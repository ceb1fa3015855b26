"""Fit the projector of the small audio-language model, and write it with its scores and its card into a folder."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from wheretolisten import log
from wheretolisten.arguments import wrong_settings
from wheretolisten.small.fitting import FittingSettings, fit_shipped


def main(argv: list[str] | None = None) -> None:
    """Command line of the fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--language-model", type=Path, required=True, help="SmolLM2, as snakemake convert_smollm2 writes it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--settings", default="{}", help="changes to the defaults of FittingSettings, JSON")
    arguments = parser.parse_args(argv)
    try:
        settings = FittingSettings.model_validate_json(arguments.settings)
    except ValidationError as error:
        raise wrong_settings(error, FittingSettings) from error
    fit_shipped(arguments.language_model, arguments.output, settings)


if __name__ == "__main__":
    log.start("fit_small_projector")
    log.run(main)
