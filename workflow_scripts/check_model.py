"""Compare the engine with a model's own code on two short recordings, and say by how much they differ."""

import dataclasses
import json
from pathlib import Path

from wheretolisten import arguments, log
from wheretolisten.config.models import Model
from wheretolisten.engine import selfcheck
from wheretolisten.files import write_text
from wheretolisten.models import registry


def main(argv: list[str] | None = None) -> None:
    """Write the largest differences (`selfcheck.Agreement`) and the verdict, JSON; a refused model is no error here."""
    args = arguments.parse(__doc__, argv, model=str, settings=Model.from_json, output=Path)
    logger = log.start("check_model")
    adapter = registry.load(args.settings)
    found = selfcheck.compare(adapter)
    facts = {
        "model": args.model,
        "type": adapter.model.config.model_type,
        "device": str(adapter.device),
        "dtype": str(adapter.model.dtype).removeprefix("torch."),
        **dataclasses.asdict(found),
        "verdict": found.verdict,
    }
    write_text(args.output, json.dumps(facts, indent=2) + "\n")
    logger.info("%s: %s (%s)", args.model, found.verdict, args.output)


if __name__ == "__main__":
    log.run(main)
