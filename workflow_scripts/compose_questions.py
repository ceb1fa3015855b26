"""Make questions with choices about the samples of sequences, in MMAU's format."""

import argparse
import json
from collections import Counter
from pathlib import Path

from wheretolisten import log
from wheretolisten.config.settings import QuestionSettings
from wheretolisten.examples import read_shard
from wheretolisten.files import write_text
from wheretolisten.questions.compose import compose


def main(argv: list[str] | None = None) -> None:
    """Write the question set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="questions and words for labels, JSON")
    parser.add_argument("--events", type=Path, required=True, help="events of the examples, csv")
    parser.add_argument("--output", type=Path, required=True, help="question set, json")
    args = parser.parse_args(argv)
    logger = log.start("compose_questions")
    settings = QuestionSettings.from_json(args.settings)
    items = compose(read_shard(args.events), settings.questions, settings.wording)
    write_text(args.output, json.dumps(items, indent=1, ensure_ascii=False) + "\n")
    counts = Counter(item["sub-category"] for item in items)
    logger.info("%d questions: %s", len(items), ", ".join(f"{n} {kind}" for kind, n in counts.items()))


if __name__ == "__main__":
    log.run(main)
