"""Make a checkpoint of the small audio-language model: Whisper's ears, SmolLM2 and the projector between them."""

import shutil
from pathlib import Path

from wheretolisten import arguments, log
from wheretolisten.files import write_text
from wheretolisten.small import whisper
from wheretolisten.small.assembly import assemble
from wheretolisten.small.projector import Projector


def main(argv: list[str] | None = None) -> None:
    """Write the checkpoint, safetensors with processor, licences and card, into the folder `output`.

    The card, and the names of authors of recordings, lie beside the projector.
    """
    args = arguments.parse(__doc__, argv, language_model=Path, projector=Path, output=Path)
    logger = log.start("convert_small_qwen2_audio")
    encoder, licence = whisper.find()
    model, processor = assemble(args.language_model, encoder)
    Projector.load(args.projector).put_into(model, processor.tokenizer)
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)
    shutil.copy(args.language_model / "LICENSE", args.output / "LICENSE-SmolLM2")
    write_text(args.output / "LICENSE-Whisper", licence)
    shutil.copy(args.projector.parent / "README.md", args.output)
    # Authors of recordings, where the projector was fitted on any that ask to be named.
    if (args.projector.parent / "NOTICE").is_file():
        shutil.copy(args.projector.parent / "NOTICE", args.output)
    logger.info("%d parameters: %s", model.num_parameters(), args.output)


if __name__ == "__main__":
    log.run(main)
