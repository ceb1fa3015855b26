"""Write docs/configuration.md and config.schema.json from the types of the configuration, by hand after a change."""

from pathlib import Path

from wheretolisten import log
from wheretolisten.config import reference
from wheretolisten.files import write_text

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write both files into the repository."""
    logger = log.start("describe_configuration")
    write_text(ROOT / "docs/configuration.md", reference.as_markdown())
    write_text(ROOT / "config.schema.json", reference.as_json())
    logger.info("docs/configuration.md, config.schema.json")


if __name__ == "__main__":
    log.run(main)
