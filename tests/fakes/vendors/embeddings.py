"""Embeddings: the same text has the same vector, and another text another one."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import struct
from typing import Any

from tests.fakes.vendors.openai_rules import refuse
from tests.fakes.vendors.script import tokens
from tests.fakes.vendors.vendor import Heard

SIZES = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "gemini-embedding-001": 3072}
INPUTS = 2048  # in one request


def vector(model: str, text: str, size: int) -> list[float]:
    """Of length one."""
    drawn = random.Random(hashlib.sha256(f"{model}\0{text}".encode()).digest())
    values = [drawn.gauss(0, 1) for _ in range(size)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def embed(heard: Heard, found: re.Match[str]) -> Any:
    """OpenAI's `POST /embeddings`."""
    body = heard.body or {}
    model, given = body.get("model"), body.get("input")
    if not model:
        refuse("you must provide a model parameter")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        refuse("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")
    if len(texts) > INPUTS:
        refuse(f"Invalid 'input': maximum array length is {INPUTS}, got {len(texts)}.", "input")
    size = body.get("dimensions") or SIZES.get(model, 768)
    rows = [{"object": "embedding", "index": n, "embedding": vector(model, text, size)} for n, text in enumerate(texts)]
    if body.get("encoding_format") == "base64":
        for row in rows:
            row["embedding"] = base64.b64encode(struct.pack(f"<{size}f", *row["embedding"])).decode()
    used = sum(map(tokens, texts))
    return {"object": "list", "data": rows, "model": model, "usage": {"prompt_tokens": used, "total_tokens": used}}
