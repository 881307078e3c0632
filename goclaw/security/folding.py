"""Text as a model reads it: without what cannot be seen, and with one letter for all that look like it.

Contract: security.md §2.1 (views), §5.2. Wider than the lists there: what only ever hides in text is dropped, too.
"""

from __future__ import annotations

import html
import re
import unicodedata

HIDDEN = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)  # first and last of each row
INVISIBLE = {code: None for first, last in HIDDEN for code in range(first, last + 1)}
ALIKE = (
    ("асеіјорѕхуһԁԛԝкмтвнгꮁӏ", "aceijopsxyhdqwkmtbhrrl"),  # Cyrillic, and Cherokee that looks like it
    ("αεικνορτυηωγ", "aeiknoptunwy"),  # Greek
    ("աօսոցհյզ", "aounghjq"),  # Armenian
    ("ɑɡɩıᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "agiiabcdefghijklmnoprstuvwyz"),  # Latin that is none of the 26
)
ANGLES = (("<", "‹〈⟨＜❮"), (">", "›〉⟩＞❯"), ("<<", "«≪⟪《"), (">>", "»≫⟫》"))  # … and what looks like them


def _alike() -> dict[int, str]:
    """Each letter's own 26, in its case; a letter whose capital has a look of its own (Η is no N) has a row below."""
    table = {ord(letter): plain for row, latin in ALIKE for letter, plain in zip(row, latin, strict=True)}
    capitals = {ord(letter.upper()): plain.upper() for letter, plain in ((chr(code), p) for code, p in table.items())}
    own = dict(zip(map(ord, "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕКМНОРСТУХЅІЈ"), "ABEZHIKMNOPTYXABEKMHOPCTYXSIJ", strict=True))
    return {**{code: plain for code, plain in capitals.items() if code > 0x7F}, **table, **own}


LATIN = {
    **_alike(),
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07"), "'"),
    **dict.fromkeys((0x85, 0x2028, 0x2029), "\n"),
    **{ord(char): plain for plain, chars in ANGLES for char in chars},
}
ADORNED = re.compile(r"[*_`~]|</?(?:b|i|u|s|em|strong|span|code|mark|small|sub|sup|font|a)>", re.IGNORECASE)


LONG = ("\ufdfa", "\ufdfb")  # signs that NFKC makes a sentence of, in Arabic


def visible(text: str) -> str:
    """NFKC, without what cannot be seen (V1). ASCII is returned as it is."""
    if text.isascii():
        return text
    for sign in LONG:
        text = text.replace(sign, " ")
    return unicodedata.normalize("NFKC", text).translate(INVISIBLE)


def latin(text: str) -> str:
    """The same in the letters it looks like, without their accents, and with the entities of HTML read (V2)."""
    if "&" in text:
        text = html.unescape(text)
    if text.isascii():
        return text
    bare = unicodedata.normalize("NFKD", text.translate(LATIN))
    return "".join(char for char in bare if not unicodedata.combining(char)).translate(LATIN)


def unadorned(text: str) -> str:
    """Without the signs of Markdown that stand inside of a sentence, and without tags like `<b>`."""
    return ADORNED.sub("", text)
