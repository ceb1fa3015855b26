"""The typed configuration: the only reader of raw config.

Every section is a pydantic model that refuses unknown keys. A rule passes the section it depends on, and nothing else,
to its script as one JSON string (`as_json`), so that a job reruns exactly when a value that matters to it changes.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from wheretolisten import cache, checkpoint
from wheretolisten.errors import UserError

SAMPLING_RATE = 16_000
"""Sampling rate of all audio in the workflow, in Hz (METHOD of SWL: 16 kHz mono)."""

POSITIONS = ("begin", "middle", "end")
"""Names of the three event positions in a sample, in order of time."""

VECTOR_KINDS = ("sample", "label_mean", "random_direction")
"""Which vector steers a query: the query's own sample's, its label's mean over the other samples, or (a control) one as
long as the own sample's in a random direction."""

PROCEDURAL_LABELS = {
    "animals": ("dog", "cat", "cow", "sheep", "frog", "pig", "hen", "rooster", "crow"),
    "everyday": ("siren", "bell", "horn", "telephone", "whistle", "drum", "engine", "rain", "clock"),
}
"""Sounds that can be synthesised, by domain."""

REHEARSAL = "rehearsal-"
"""How the names of models with random weights start, and no others, so that no file or table hides what they are."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


_LAYER_RANGE = re.compile(r"^(\d+)(%?) ?- ?(\d+)(%?)$")


def _check_layers(layers: Any) -> Any:
    """Refuse what `select_layers` does not know, in one sentence instead of one per member of a union."""
    if isinstance(layers, list):
        numbers = all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers)
        if not numbers or not layers or min(layers) < 0 or len(set(layers)) != len(layers):
            raise ValueError("a list of blocks holds different numbers from 0 on, at least one")
        return layers
    if layers in ("all", "second_half"):
        return layers
    found = _LAYER_RANGE.match(layers) if isinstance(layers, str) else None
    if found is None or found[2] != found[4]:
        raise ValueError(
            f"{layers!r} is none of all, second_half, a list of blocks, a range such as 14-29 "
            "or a part of the depth such as 50%-100%"
        )
    first, last, percent = int(found[1]), int(found[3]), bool(found[2])
    if first > last or (percent and (first == last or last > 100)):
        raise ValueError(f"{layers!r} holds no block; write the lower end first, percentages up to 100%")
    return layers


Layers = Annotated[Any, BeforeValidator(_check_layers)]
"""Decoder blocks, counted from 0: `all`, `second_half`, a list, a range "14-29" (ends included), or a part of the depth
"50%-100%"."""


def _check_interval(interval: tuple[float, float], key: str) -> None:
    low, high = interval
    if not 0.1 <= low <= high <= 600:
        raise ValueError(f"{key} must be [shortest, longest] with 0.1 <= shortest <= longest <= 600 seconds")


def _check_template(text: str, key: str, required: set[str], optional: frozenset[str] | set[str] = frozenset()) -> None:
    try:
        text.format(**dict.fromkeys(required, "dog"), **dict.fromkeys(optional, 1.0))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{key}: cannot fill {text!r}: {error}; it may use {sorted(required | optional)}") from None
    for name in required:
        if f"{{{name}}}" not in text:
            raise ValueError(f"{key} must contain {{{name}}}")


def _check_domains(domains: dict[str, list[str]] | None) -> dict[str, list[str]] | None:
    if domains == {}:
        raise ValueError("no domain is listed; list one with its labels, or write null for a single one")
    owner: dict[str, str] = {}
    for domain, labels in (domains or {}).items():
        if not labels:
            raise ValueError(f"domain {domain!r} lists no label; add its labels or take it out")
        _check_repetition(labels)
        for label in labels:
            if owner.setdefault(label, domain) != domain:
                raise ValueError(f"label {label!r} is listed under {owner[label]!r} and {domain!r}; keep one of them")
    return domains


def _check_repetition(labels: list[str]) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"label {label!r} is listed twice; keep one of them")


def _join(first: str, second: str) -> str:
    return f"{first} {second}".strip()


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are frozen and strictly typed where it matters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_numbers(cls, values: Any) -> Any:
        # pydantic would take yes and no, which YAML reads as true and false, for 1 and 0.
        for key, field in cls.model_fields.items():
            if field.annotation in (int, float) and isinstance(values, dict) and isinstance(values.get(key), bool):
                raise ValueError(f"{key} must be a number, not {values[key]}")
        return values

    def as_json(self) -> str:
        """The section as canonical JSON (sorted keys), fit for a command line and for a digest."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> "Section":
        """Parse what `as_json` wrote.

        Raises
        ------
        UserError
            If the text does not fit the section.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(_first_sentence(error, "--settings")) from error


# ---------------------------------------------------------------------------------------------------- clip libraries


class _Library(Section):
    on_bad_file: Literal["skip", "refuse"] = Field(
        "skip", description="what to do with a file that is broken, silent or too short: name and skip it, or stop"
    )
    min_seconds: float = Field(0.5, gt=0, description="shorter files count as bad, in seconds")


class ProceduralLibrary(Section):
    """Clips synthesised from code; needs no files."""

    type: Literal["procedural"]
    labels: list[str] | None = Field(None, min_length=1, description="null: all eighteen")
    clips_per_label: int = Field(40, ge=1)
    clip_seconds: tuple[float, float] = Field((4.5, 5.5), description="shortest and longest clip, in seconds")
    seed: int = Field(1, ge=0)

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: list[str] | None) -> list[str] | None:
        known = [label for names in PROCEDURAL_LABELS.values() for label in names]
        for label in labels or ():
            if label not in known:
                raise ValueError(f"there is no procedural sound {label!r}; choose from {', '.join(known)}")
        _check_repetition(labels or [])
        return labels

    @model_validator(mode="after")
    def _check_range(self) -> "ProceduralLibrary":
        _check_interval(self.clip_seconds, "clip_seconds")
        return self

    def labels_by_domain(self) -> dict[str, list[str]]:
        """Domain → the labels that are synthesised; a domain without any is left out."""
        chosen = {
            domain: [label for label in names if self.labels is None or label in self.labels]
            for domain, names in PROCEDURAL_LABELS.items()
        }
        return {domain: labels for domain, labels in chosen.items() if labels}


Domains = Annotated[
    dict[str, list[str]] | None,
    AfterValidator(_check_domains),
    Field(description="domain → its labels; null: one domain, 'sounds'"),
]


class FolderLibrary(_Library):
    """A folder with one sub-folder per label: `<label>/*.wav|flac|ogg`."""

    type: Literal["folder"]
    path: str
    domains: Domains = None


class Esc50Library(_Library):
    """A csv beside an `audio` folder, laid out as ESC-50's `meta/esc50.csv`."""

    type: Literal["esc50"]
    csv: str = Field(description="table with the columns filename and category, and optionally fold and a recording id")
    audio: str = Field(description="folder that holds the files named in the table")
    source_column: str | None = Field(
        None, description="column that names the recording a clip was cut from; null: each file is its own source"
    )
    folds: list[int] | None = Field(None, min_length=1, description="keep these folds only; null: all")
    domains: Domains = None


class SakuraLibrary(_Library):
    """A checkout of SAKURA's data: one folder per track, each with `metadata.csv` and its audio."""

    type: Literal["sakura"]
    path: str
    tracks: dict[str, str] = Field(
        default_factory=lambda: {"animals": "Animal", "languages": "Language"},
        min_length=1,
        description="domain → track folder inside the checkout",
    )


Library = Annotated[
    ProceduralLibrary | FolderLibrary | Esc50Library | SakuraLibrary,
    Field(discriminator="type"),
]


# ------------------------------------------------------------------------------------------------------- benchmarks


class Composition(Section):
    """What one sample of a benchmark is made of (SWL: three clips in sequence, noise between them)."""

    clip_seconds: tuple[float, float] = Field((4.5, 5.5), description="shortest and longest event, in seconds")
    gap_seconds: float = Field(1.0, ge=0, le=60, description="noise between events, in seconds")
    gap_noise: Literal["white", "pink", "silence"] = "white"
    loudness: Literal["untouched", "rms"] = Field("untouched", description="rms: every clip to rms_level first")
    rms_level: float = Field(0.1, gt=0, lt=1, description="root mean square that loudness: rms brings clips to")
    domains: Literal["within", "mixed"] = Field("within", description="labels of a sample from one domain, or any")
    seed: int = Field(2606, ge=0)

    @model_validator(mode="after")
    def _check_range(self) -> "Composition":
        _check_interval(self.clip_seconds, "clip_seconds")
        return self

    @property
    def longest_seconds(self) -> float:
        """Upper bound of a sample's duration, in seconds."""
        return len(POSITIONS) * self.clip_seconds[1] + (len(POSITIONS) - 1) * self.gap_seconds


class Benchmark(Section):
    """A named benchmark: a clip library, a size and a composition."""

    library: str
    n_samples: int = Field(500, ge=1)
    composition: Composition = Composition()


# ------------------------------------------------------------------------------------------------------------ models


class Model(Section):
    """A checkpoint that transformers can load."""

    checkpoint: str = Field(description="folder, or repository id on the model hub")
    revision: str | None = Field(
        None, pattern="^[0-9a-f]{40}$", description="commit of the hub repository, 40 digits; null for a folder"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the folder's architecture with random weights, to rehearse a run"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda where there is one")
    device_map: Literal["auto", "balanced", "sequential"] | None = Field(
        None, description="how accelerate spreads the blocks over all cards; null: one device holds the model"
    )
    batch_samples: int = Field(8, ge=1, description="samples that one pass holds")

    @model_validator(mode="after")
    def _check_fields(self) -> "Model":
        if self.device_map and self.device != "auto":
            raise ValueError(
                f"device_map: {self.device_map} spreads the model over all cards, but device: {self.device} names one "
                "place; leave device at auto, or take device_map out"
            )
        return self

    @property
    def identity(self) -> str:
        """What results call the model they were made with."""
        return f"{self.checkpoint}@{self.revision}" if self.revision else self.checkpoint


# ------------------------------------------------------------------------------------------------------------- probe


class Emphasis(Section):
    """Steer some blocks more strongly and the others less, at the same total strength (AVS, layer weights).

    λ_l = λ(1 + β·|L_dec|/|L_inc|) for the emphasised blocks L_inc, λ(1 − β) for the other steered blocks L_dec.
    """

    layers: Layers = Field(description="emphasised blocks L_inc, among the steered ones")
    beta: float = Field(0.5, ge=0, le=1, description="β, dimensionless; 0: all alike, 1: the others not at all")


class Steering(Section):
    """How a vector is added to the residual stream: h' = Norm(h + scale · v) at each steered block."""

    scale: float = Field(0.1, description="λ, dimensionless")
    layers: Layers = Field("all", description="steered blocks, 0-based")
    emphasis: Emphasis | None = Field(None, description="null: every steered block at the same strength")
    site: Literal["block", "mlp"] = Field("block", description="h: output of the block, or of its MLP alone")
    positions: Literal["all", "after_audio", "last"] = Field("all", description="steered tokens of the prompt")
    normalisation: Literal["none", "unit"] = Field("none", description="unit: every layer's vector to length 1")
    preserve_norm: bool = Field(True, description="restore the length of every steered state")

    def scales(self, n_layers: int) -> dict[int, float]:
        """Strength λ_l of every steered block, by its index; AVS's weights where there is an emphasis.

        Raises
        ------
        UserError
            If a block does not exist, or none of the steered blocks is emphasised.
        """
        layers = select_layers(self.layers, n_layers)
        if self.emphasis is None:
            return dict.fromkeys(layers, self.scale)
        increased = set(select_layers(self.emphasis.layers, n_layers)) & set(layers)
        if not increased:
            raise UserError(f"emphasis.layers: {self.emphasis.layers!r} holds no steered block; name one of {layers}")
        beta, n_decreased = self.emphasis.beta, len(layers) - len(increased)
        more, less = self.scale * (1 + beta * n_decreased / len(increased)), self.scale * (1 - beta)
        return {layer: more if layer in increased else less for layer in layers}


class Readout(Section):
    """Which attention is read: rows of text queries, columns of audio keys, every block."""

    text_rows: Literal["all", "last"] = Field("all", description="text tokens after the audio that are summed over")
    kernel: Literal["sdpa", "flash"] = Field("sdpa", description="flash: the package flash-attn, on a GPU only")


class Prompts(Section):
    """Wording of the probe (SWL §3.3; `{label}` stands for the sound's name)."""

    positive: str = "Which part of the audio has the sound of {label}?"
    negative: str = "Focus on the entire audio"
    query: str = Field("", description="question appended to both instructions; empty: none")
    inference: str = Field("Describe the audio.", description="prompt of the base and of the steered pass")
    label_wording: dict[str, str] = Field(default_factory=dict, description="label → its words in prompts")
    domain_wording: dict[str, str] = Field(
        default_factory=lambda: {"languages": "{label} speech"},
        description="domain → words for its labels that have no wording of their own; default: the label itself",
    )

    @model_validator(mode="after")
    def _check_fields(self) -> "Prompts":
        _check_template(self.positive, "positive", {"label"})
        for domain, wording in self.domain_wording.items():
            _check_template(wording, f"domain_wording.{domain}", {"label"})
        for name in ("negative", "inference"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        return self

    def positive_for(self, label: str, domain: str) -> str:
        """The positive instruction for a label, with the query appended: p+ ⊕ query."""
        return _join(self.positive.format(label=self.wording(label, domain)), self.query)

    def negative_with_query(self) -> str:
        """The negative instruction with the query appended: p− ⊕ query."""
        return _join(self.negative, self.query)

    def wording(self, label: str, domain: str) -> str:
        """The words that stand for a label of a domain in prompts."""
        return self.label_wording.get(label) or self.domain_wording.get(domain, "{label}").format(label=label)


class Localization(Section):
    """From attention to a window (SWL §3.3)."""

    layers: Layers = Field("second_half", description="blocks scored, 0-based")
    layer_weights: Literal["linear", "uniform"] = Field("linear", description="w_l: rising with depth, or equal")
    epsilon: float = Field(1e-8, gt=0, description="ε in the ratio of window shares")
    tie_tolerance: float = Field(1e-6, ge=0, lt=1, description="relative; windows closer to the best than this tie")


class DirectPrompt(Section):
    """Asking the model for the onset in words (SWL §4: the direct-prompting baseline)."""

    question: str = (
        "This audio contains three sound events in sequence. The sound of {label} lasts {duration:.2f} seconds. "
        "What is the starting time (in seconds) of this event from the beginning of the audio?"
    )
    max_new_tokens: int = Field(64, ge=1, le=4096)

    @model_validator(mode="after")
    def _check_fields(self) -> "DirectPrompt":
        _check_template(self.question, "question", {"label"}, {"duration"})
        return self

    def question_for(self, wording: str, duration: float) -> str:
        """The question about one event; `duration` in seconds."""
        return self.question.format(label=wording, duration=duration)


class Probe(Section):
    """The localization probe and its baselines."""

    prompts: Prompts = Prompts()
    steering: Steering = Steering()
    readout: Readout = Readout()
    localization: Localization = Localization()
    direct_prompt: DirectPrompt = DirectPrompt()
    random_draws: int = Field(100, ge=1, description="uniform random windows drawn per query")
    random_seed: int = Field(0, ge=0)


# ---------------------------------------------------------------------------------- what one script's job depends on


class ExtractionSettings(Section):
    """All that un-steered passes depend on."""

    model: Model
    prompts: Prompts
    readout: Readout


class SteeringSettings(Section):
    """All that steered passes depend on, beside the vectors."""

    model: Model
    inference: str
    steering: Steering
    readout: Readout


class MapSettings(Section):
    """All that the map of one query's attention depends on, beside the query and the vectors."""

    model: Model
    prompts: Prompts
    steering: Steering


class DirectSettings(Section):
    """All that direct answers depend on."""

    model: Model
    prompts: Prompts
    direct_prompt: DirectPrompt


# ----------------------------------------------------------------------------------------------------------- figures


class Figures(Section):
    """Which benchmark and sample the figures show."""

    attention_change: str = Field(description="benchmark of Figure 2; its events must all have one duration")
    overlap: str = Field(description="benchmark of the bars of overlap by position")
    reading_sample: int = Field(0, ge=0, description="index of the sample whose reading is drawn")
    reading_position: Literal["begin", "middle", "end"] = "middle"
    reading_vector: Literal["sample", "label_mean", "random_direction"] = "sample"


class Config(Section):
    """The whole configuration, as in config.yaml."""

    libraries: dict[str, Library] = Field(min_length=1)
    benchmarks: dict[str, Benchmark] = Field(min_length=1)
    models: dict[str, Model] = Field(min_length=1)
    probe: Probe = Probe()
    figures: Figures
    shard_seconds: float = Field(4500, gt=0, description="audio that one job handles, in seconds")
    model_cache: str | None = Field(
        None, description="cache of fetched checkpoints; null: HF_HUB_CACHE, or hub in HF_HOME"
    )

    @model_validator(mode="after")
    def _check_across(self) -> "Config":
        for section in ("libraries", "benchmarks", "models"):
            for name in getattr(self, section):
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{section}: the name {name!r} becomes a folder; use lower-case letters, digits, '.', '_', '-'"
                    )
        if "random" in self.models:
            raise ValueError("models: 'random' is the name of the random baseline; choose another name")
        for name, model in self.models.items():
            if (model.weights == "random") != name.startswith(REHEARSAL):
                raise ValueError(
                    f"models: {name!r} has {model.weights} weights; a model whose name starts with {REHEARSAL!r} has "
                    "random ones, and no other model has: rename it, or change its key weights"
                )
        if len({model.weights for model in self.models.values()}) > 1:
            raise ValueError(
                "models: a rehearsal with random weights does not share a run with real models "
                f"({', '.join(self.models)}); take out (name: null) the ones or the others"
            )
        for name, benchmark in self.benchmarks.items():
            if benchmark.library not in self.libraries:
                raise ValueError(
                    f"benchmarks.{name}.library: {benchmark.library!r} is not in libraries "
                    f"({', '.join(self.libraries)}); name one of them or add it"
                )
            library = self.libraries[benchmark.library]
            shortest = benchmark.composition.clip_seconds[0]
            if isinstance(library, ProceduralLibrary) and library.clip_seconds[1] < shortest:
                raise ValueError(
                    f"benchmarks.{name}.composition.clip_seconds: events of at least {shortest:g} s cannot be cut from "
                    f"library {benchmark.library!r}, whose clips last at most {library.clip_seconds[1]:g} s; "
                    "shorten the events or lengthen the clips"
                )
            if isinstance(library, ProceduralLibrary) and benchmark.composition.domains == "within":
                for domain, labels in library.labels_by_domain().items():
                    if len(labels) < len(POSITIONS):
                        raise ValueError(
                            f"libraries.{benchmark.library}.labels: domain {domain!r} has {len(labels)} label(s) "
                            f"({', '.join(labels)}), but a sample of benchmark {name!r} takes {len(POSITIONS)} of one "
                            "domain; add labels, or set composition.domains: mixed"
                        )
            if benchmark.composition.longest_seconds > self.shard_seconds:
                raise ValueError(
                    f"shard_seconds: {self.shard_seconds:g} s is less than one sample of benchmark {name!r} "
                    f"({benchmark.composition.longest_seconds:g} s); raise it"
                )
        for key in ("attention_change", "overlap"):
            chosen = getattr(self.figures, key)
            if chosen not in self.benchmarks:
                raise ValueError(
                    f"figures.{key}: {chosen!r} is not in benchmarks ({', '.join(self.benchmarks)}); name one of them"
                )
        shortest, longest = self.benchmarks[self.figures.attention_change].composition.clip_seconds
        if shortest != longest:
            raise ValueError(
                f"figures.attention_change: benchmark {self.figures.attention_change!r} has events of {shortest:g} to "
                f"{longest:g} s, but the figure averages over samples position by position; "
                "name one with equal clip_seconds"
            )
        if self.figures.reading_sample >= self.benchmarks[self.figures.overlap].n_samples:
            raise ValueError(
                f"figures.reading_sample: {self.figures.reading_sample} is beyond benchmark {self.figures.overlap!r}, "
                f"which has {self.benchmarks[self.figures.overlap].n_samples} samples; lower it"
            )
        return self

    @property
    def rehearsal(self) -> bool:
        """Whether the models have random weights, so that the run measures time and memory and yields no results."""
        return any(model.weights == "random" for model in self.models.values())

    def extraction_settings(self, model: str) -> ExtractionSettings:
        """What `extract_activations` of a model depends on."""
        return ExtractionSettings(model=self.models[model], prompts=self.probe.prompts, readout=self.probe.readout)

    def steering_settings(self, model: str) -> SteeringSettings:
        """What `steer_attention` of a model depends on."""
        return SteeringSettings(
            model=self.models[model],
            inference=self.probe.prompts.inference,
            steering=self.probe.steering,
            readout=self.probe.readout,
        )

    def map_settings(self, model: str) -> MapSettings:
        """What `map_attention` of a model depends on."""
        return MapSettings(model=self.models[model], prompts=self.probe.prompts, steering=self.probe.steering)

    def direct_settings(self, model: str) -> DirectSettings:
        """What `prompt_directly` of a model depends on."""
        return DirectSettings(
            model=self.models[model],
            # Of the prompts, only the names of sounds occur in the question.
            prompts=Prompts(
                label_wording=self.probe.prompts.label_wording, domain_wording=self.probe.prompts.domain_wording
            ),
            direct_prompt=self.probe.direct_prompt,
        )

    def samples_per_shard(self, benchmark: str) -> int:
        """Samples in one shard: fixed by the longest possible sample, so that adding samples moves none."""
        return math.floor(self.shard_seconds / self.benchmarks[benchmark].composition.longest_seconds)

    def shard_range(self, benchmark: str, shard: int) -> tuple[int, int]:
        """First sample index of a shard, and the index after its last."""
        size = self.samples_per_shard(benchmark)
        return shard * size, min((shard + 1) * size, self.benchmarks[benchmark].n_samples)

    def shard_of(self, benchmark: str, sample: int) -> int:
        """Number of the shard that holds a sample, by the sample's index."""
        return sample // self.samples_per_shard(benchmark)

    def n_shards(self, benchmark: str) -> int:
        """Number of shards of a benchmark."""
        return math.ceil(self.benchmarks[benchmark].n_samples / self.samples_per_shard(benchmark))


def load(raw: Mapping[str, Any], root: str | Path = ".") -> Config:
    """Check raw configuration and return it typed.

    Parameters
    ----------
    raw
        What Snakemake read from config.yaml and `--config`.
    root
        Folder that relative paths in the configuration start from.

    Raises
    ------
    UserError
        Naming every wrong key, its value and what to do.
    """
    # An overlay is merged into config.yaml key by key; null is how it takes an entry out.
    raw = {
        key: {name: entry for name, entry in value.items() if entry is not None}
        if key in {"libraries", "benchmarks", "models"} and isinstance(value, dict)
        else value
        for key, value in raw.items()
    }
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise UserError(_first_sentence(error, "config.yaml")) from error
    root = Path(root)
    for name, library in config.libraries.items():
        for key, kind in (("path", "folder"), ("csv", "file"), ("audio", "folder")):
            if not hasattr(library, key):
                continue
            path = root / getattr(library, key)
            if not (path.is_file() if kind == "file" else path.is_dir()):
                raise UserError(
                    f"config.yaml: libraries.{name}.{key}: {getattr(library, key)!r} does not exist as a {kind}; "
                    "correct the path or put the files there"
                )
    for name, model in config.models.items():
        _check_checkpoint(name, model, config, root)
    return config


def refuse_repeated_keys(path: str | Path) -> None:
    """Refuse a configuration file that names something twice; YAML would keep the last one without a word.

    Raises
    ------
    UserError
        Naming the file, the line and the key.
    """
    import yaml  # comes with Snakemake, and jobs do without it

    with open(path, encoding="utf-8") as file:
        try:
            waiting = [yaml.compose(file, Loader=yaml.SafeLoader)]
        except yaml.YAMLError:
            return  # Snakemake, which has read the file before, says so; tabs in JSON are none of its concern
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if key.value in seen:
                    raise UserError(
                        f"{path}: line {key.start_mark.line + 1}: {key.value!r} is named twice; rename or remove one"
                    )
                seen.add(key.value)
                waiting.append(value)


def _check_checkpoint(name: str, model: Model, config: Config, root: Path) -> None:
    """Refuse what a checkpoint's files already show to be wrong; all of a hub repository's when it is fetched."""
    where = f"config.yaml: models.{name}.checkpoint"
    folder = root / model.checkpoint
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
                'uv run python -c "import huggingface_hub as h; '
                f"print(h.model_info('{model.checkpoint}').sha)\""
            )
        # Fetched, in part perhaps: the jobs check the rest, and a refusal here would keep a fetch from completing it.
        folder = cache.snapshot_folder(model.checkpoint, model.revision, config.model_cache)
        _check_fit(name, model, config, folder, checkpoint.read_json(folder / "config.json"))
        return
    if model.revision is not None:
        raise UserError(
            f"config.yaml: models.{name}.revision: {model.checkpoint!r} is a folder, which has no revision; set "
            "revision to null, or rename the folder if the hub repository is meant"
        )
    description = checkpoint.check(where, folder, model.weights)
    _check_fit(name, model, config, folder, description)


def _check_fit(name: str, model: Model, config: Config, folder: Path, description: dict[str, Any]) -> None:
    """Refuse layers that a model does not have, and samples that are too long for it."""
    # Published files leave out what equals the class's default; then the job that loads the model checks the blocks.
    text_stack = description.get("text_config")
    n_layers = text_stack.get("num_hidden_layers") if isinstance(text_stack, dict) else None
    for key in ("steering", "localization"):
        try:
            if n_layers is not None:
                select_layers(getattr(config.probe, key).layers, n_layers)
        except UserError as error:
            raise UserError(f"config.yaml: probe.{key}.layers: {error} (model {name!r})") from None
    try:
        if n_layers is not None:
            config.probe.steering.scales(n_layers)
    except UserError as error:
        raise UserError(f"config.yaml: probe.steering.{error} (model {name!r})") from None
    processor = checkpoint.read_json(folder / "preprocessor_config.json")
    processor |= checkpoint.read_json(folder / "processor_config.json")
    extractor = processor.get("feature_extractor", processor)
    seconds = processor.get("max_audio_len", extractor.get("chunk_length"))
    for benchmark, settings in config.benchmarks.items():
        longest = settings.composition.longest_seconds
        if seconds is not None and longest > seconds:
            raise UserError(
                f"config.yaml: models.{name}.checkpoint: {model.checkpoint!r} hears at most {seconds:g} s, but samples "
                f"of {benchmark!r} last up to {longest:g} s; shorten its clip_seconds or gap_seconds, or take the "
                "model out"
            )


def select_layers(layers: str | list[int], n_layers: int) -> list[int]:
    """Indices of the chosen decoder blocks, 0-based and ascending.

    `second_half` is L/2 … L−1 (SWL §3.3), the same as "50%-100%"; "14-29" holds both its ends.

    Raises
    ------
    UserError
        If an index is not below `n_layers`, or a part of the depth holds no block.
    """
    if layers == "all":
        return list(range(n_layers))
    if layers == "second_half":
        return list(range(n_layers // 2, n_layers))
    if isinstance(layers, list):
        chosen = sorted(layers)
    else:
        first, percent, last, _ = _LAYER_RANGE.match(layers).groups()
        if percent:
            chosen = list(range(int(first) * n_layers // 100, int(last) * n_layers // 100))
        else:
            chosen = list(range(int(first), int(last) + 1))
    if not chosen:
        raise UserError(f"{layers} holds none of the {n_layers} blocks of the text stack; widen it")
    if chosen[-1] >= n_layers:
        raise UserError(
            f"block {chosen[-1]} does not exist; the text stack has {n_layers} blocks, choose from 0 to {n_layers - 1}"
        )
    return chosen


def _first_sentence(error: ValidationError, where: str) -> str:
    problems = []
    for item in error.errors():
        # The discriminator of a union appears in the location, though the user never wrote it.
        location = ".".join(
            str(part) for depth, part in enumerate(item["loc"]) if depth != 2 or item["loc"][0] != "libraries"
        )
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; remove it or correct its spelling"
        elif item["type"] == "missing":
            message = f"the {'value' if isinstance(item['loc'][-1], int) else 'key'} is missing; add it"
        elif item["type"] == "too_short":
            message = "there must be at least one; name it"
        elif item["type"] in {"dict_type", "model_type"}:
            message = f"must hold keys of its own, not {item['input']!r}"
        elif item["type"] == "union_tag_not_found":
            message = "the key type is missing; add procedural, folder, esc50 or sakura"
        elif item["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]}, not {item['input']!r}"
        problems.append(f"{location}: {message}" if location else message)
    return f"{where}: " + "; ".join(problems)
