"""Whether an element says of itself that nobody sees it: hidden text is how pages talk to models behind their readers'
backs. What style sheets, scripts or a white page do to it cannot be told from the element. Contract: tools.md §11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

STYLE = 4096  # characters of a style, without addresses; a longer one hides what it says
ADDRESS = re.compile(r"url\([^)]*+\)", re.IGNORECASE)
INNER = re.compile(r"calc\(([^()]*)\)|var\([^,()]*,([^()]*)\)")
NOISE = re.compile(r"/\*.*?(\*/|\Z)|\\([0-9a-f]{1,6})\s?|\\(.)", re.DOTALL | re.IGNORECASE)
SIZE = re.compile(r"([+-]?\d*\.?\d+(?:e[+-]?\d+)?)\s*([a-z%]*)")
NUMBER = re.compile(r"(-?\s?\d{1,9}(?:\.\d{0,9})?(?:e[+-]?\d{1,2})?)([a-z%]*)")
BEFORE = {
    "em": -50.0,
    "rem": -50.0,
    "ch": -50.0,
    "cm": -20.0,
    "in": -8.0,
    "mm": -200.0,
    "deg": -1e9,
    "s": -1e9,
}  # the page
BEHIND = {
    "vw": 150.0,
    "vh": 1e9,
    "%": 150.0,
    "em": 300.0,
    "rem": 300.0,
    "deg": 1e9,
    "s": 1e9,
    "ms": 1e9,
}  # … and after it
PLACES = re.compile(r"left|right|top|bottom|inset|text-indent|letter-spacing|margin(-\w+)?|transform|translate")
GONE = {
    "display": re.compile(r"none"),
    "visibility": re.compile(r"hidden|collapse"),
    "content-visibility": re.compile(r"hidden"),
    "clip": re.compile(r"rect\(\s*[01](px)?[\s,].*"),
    "clip-path": re.compile(r"(circle|ellipse)\(\s*0.*|inset\(\s*(50|100)%.*|polygon\(\s*0(px)?\s+0(px)?\s*\).*"),
    "transform": re.compile(r".*scale[xy]?\(\s*0*\.?0+\s*[,)].*"),
    "scale": re.compile(r"0*\.?0+"),
    "filter": re.compile(r".*opacity\(\s*0*\.?0+%?\s*\).*"),
    "font": re.compile(r"(.*\s)?[+-]?0*\.?0+[a-z%]*(\s|/).*"),
}
COLOURS = ("color", "-webkit-text-fill-color")
CLEAR = re.compile(r"transparent|(rgb|hsl)a?\(.*[,/]\s*0*\.?0+%?\s*\)|#[0-9a-f]{3}0|#[0-9a-f]{6}00")
NAMED = {"white": "#ffffff", "black": "#000000", "red": "#ff0000", "snow": "#fffafa"}
SHORT = re.compile(r"#([0-9a-f]{3})")
NUMBERS = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*(?:[,/]\s*1(?:\.0*)?|[,/]\s*100%)?\s*\)")
SIDES = ("height", "width", "max-height", "max-width", "line-height")


def hidden(element: Any) -> bool:
    attributes = element.attrib
    if element.tag == "dialog" and "open" not in attributes:
        return True
    if "hidden" in attributes or "popover" in attributes or attributes.get("aria-hidden", "").strip().lower() == "true":
        return True
    style = attributes.get("style")
    if not style:
        return False
    style = ADDRESS.sub("", style)
    return len(style) > STYLE or _hides(_declarations(style))


def _declarations(style: str) -> dict[str, str]:
    """By property, without comments and escapes, which hide what a style says; of two the one that counts is last."""
    plain = INNER.sub(r"\1\2", NOISE.sub(_seen, style).lower())
    pairs = (part.partition(":") for part in plain.split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


def _seen(found: re.Match[str]) -> str:
    if found[2]:
        number = int(found[2], 16)
        return chr(number) if 0 < number < 0xD800 else ""
    return found[3] or ""


def _hides(said: Mapping[str, str]) -> bool:
    if any(name in said and pattern.fullmatch(said[name]) for name, pattern in GONE.items()):
        return True
    if any(PLACES.fullmatch(name) and _far(value) for name, value in said.items()):
        return True
    if (
        _small(said.get("opacity", ""), 0.05)
        or _small(said.get("font-size", ""), 0.1)
        or _small(said.get("zoom", ""), 0.05)
    ):
        return True
    if any(said.get(name) and CLEAR.fullmatch(said[name]) for name in COLOURS):
        return True
    if said.get("color") and _colour(said["color"]) in (
        _colour(said.get("background-color", "?")),
        _colour(said.get("background", "?")),
    ):
        return True
    closed = any(said.get(name) in ("hidden", "clip") for name in ("overflow", "overflow-x", "overflow-y"))
    if closed and said.get("text-indent", "").strip() in ("100%", "100vw"):
        return True
    return closed and any(_small(said.get(name, ""), 0.1) for name in SIDES)


def _small(value: str, most: float) -> bool:
    """A size or share nobody can see: up to `most`, one pixel, or as many hundredths."""
    found = SIZE.fullmatch(value)
    if found is None:
        return False
    return float(found[1]) <= {"px": 1.0, "pt": 1.0, "%": 100 * most}.get(found[2], most)


def _far(value: str) -> bool:
    """A place out of the page."""
    for found in NUMBER.finditer(value):
        number = float(found[1].replace(" ", ""))
        if number <= BEFORE.get(found[2], -100.0) or number >= BEHIND.get(found[2], 5000.0):
            return True
    return False


def _colour(value: str) -> str:
    """One spelling for the same colour, as far as it is black, white or written in numbers."""
    value = NAMED.get(value, value)
    if found := SHORT.fullmatch(value):
        return "#" + "".join(digit * 2 for digit in found[1])
    if found := NUMBERS.fullmatch(value):
        return "#" + "".join(f"{min(int(part), 255):02x}" for part in found.groups())
    return value
