"""What is known of models by their names, for whoever their vendor does not say. Contract: providers.md §10.2, §15."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import asdict, replace

from goclaw.domain.effort import Effort
from goclaw.settings.providers import ModelInfo

USUAL: tuple[Effort, ...] = ("low", "medium", "high")
WIDE: tuple[Effort, ...] = ("none", *USUAL, "xhigh")


class Model(Struct, frozen=True, kw_only=True):
    """One model. `efforts` are what it takes; none: it does not think, or always, and cannot be told to."""

    window: int = 128_000  # tokens, prompt and answer
    max_output: int = 8192  # tokens
    efforts: tuple[Effort, ...] = ()
    effort: Effort | None = None  # the model's own when nobody asks for one
    vision: bool = False  # takes images
    tools: bool = True


GPT = Model(window=400_000, max_output=128_000, vision=True)  # ours: §15 is silent about gpt-5 itself
O_SERIES = Model(window=200_000, max_output=100_000, efforts=USUAL, effort="medium", vision=True)
CLAUDE = Model(window=200_000, max_output=64_000, efforts=USUAL, vision=True)
GEMINI = Model(window=1_048_576, max_output=65_536, efforts=USUAL, vision=True)
THINKING_QWEN = (  # take a budget; §6
    "qwen3.5-plus",
    "qwen3.5-turbo",
    "qwen3-max",
    "qwen3-235b-a22b",
    "qwen3-32b",
    "qwen3-14b",
    "qwen3-8b",
    "qwq-32b",
)

# The first pattern that matches counts. Windows and outputs are §15's; rows it does not have are marked.
REGISTRY: tuple[tuple[str, Model], ...] = (
    ("claude-3[-.][!7]*", replace(CLAUDE, efforts=())),
    ("claude-*", CLAUDE),
    ("gpt-4o*", Model(window=128_000, max_output=16_384, vision=True)),
    ("gpt-4.1*", Model(window=1_047_576, max_output=32_768, vision=True)),  # ours
    ("o1*", O_SERIES),  # ours
    ("o3-mini*", replace(O_SERIES, vision=False)),
    ("o3*", O_SERIES),
    ("o4-mini*", O_SERIES),
    ("gpt-5.1-codex*", replace(GPT, efforts=USUAL, effort="medium")),
    ("gpt-5.1*", replace(GPT, efforts=("none", *USUAL), effort="none")),
    ("gpt-5.2-codex*", replace(GPT, window=256_000, max_output=64_000, efforts=(*USUAL, "xhigh"), effort="medium")),
    ("gpt-5.2*", replace(GPT, window=256_000, max_output=64_000, efforts=WIDE, effort="none")),
    ("gpt-5.3-codex*", replace(GPT, efforts=(*USUAL, "xhigh"), effort="medium")),
    ("gpt-5.4*", replace(GPT, window=1_000_000, max_output=100_000, efforts=WIDE, effort="none")),
    ("gpt-5.[5-9]*", replace(GPT, window=1_050_000, efforts=USUAL)),  # ours
    ("gpt-5-mini*", replace(GPT, efforts=WIDE, effort="none")),
    ("gpt-5*", replace(GPT, efforts=("minimal", *USUAL), effort="medium")),
    ("gpt-6*", replace(GPT, window=1_050_000, efforts=USUAL)),  # ours
    ("gemini-[01].*", replace(GEMINI, efforts=())),
    ("gemini-2.0-*", replace(GEMINI, efforts=())),
    ("gemini-*", GEMINI),
    ("llama-4-*", Model(window=131_072, vision=True)),
    ("llama-3.3*", Model(window=131_072)),
    ("llama*", Model()),
    ("pixtral-*", Model(vision=True)),  # ours
    ("mistral-*", Model()),
    ("deepseek-*", Model(window=64_000)),
    ("qwen*-vl*", Model(window=131_072, max_output=16_384, vision=True)),
    *((name + "*", Model(window=131_072, max_output=16_384, efforts=USUAL)) for name in THINKING_QWEN),
    ("qwen*", Model(window=131_072, max_output=16_384)),
    ("sonar*", Model(tools=False)),  # §6
    ("offline-*", Model(window=32_000, max_output=4096)),
)


def model_named(name: str, overrides: Mapping[str, ModelInfo] | None = None) -> Model:
    """What is known of `name`; unknown models are §15's "other". `overrides` is `providers.<name>.model_info`.

    An override's key is a model or a pattern; the longest that matches counts, and only for what it sets.
    """
    bare = name.rpartition("/")[2].lower()
    model = _registered(bare)
    fitting = [key for key in overrides or {} if fnmatchcase(name, key) or fnmatchcase(bare, key.lower())]
    if not overrides or not fitting:
        return model
    said = asdict(overrides[max(fitting, key=len)])
    return replace(model, **{key: value for key, value in said.items() if value is not None})


@lru_cache(maxsize=1024)
def _registered(bare: str) -> Model:
    return next((model for pattern, model in REGISTRY if fnmatchcase(bare, pattern)), Model())
