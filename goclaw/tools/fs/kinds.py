"""What a file is by how it begins, as far as another tool than read_file is the one for it."""

from __future__ import annotations

import re

KINDS = (
    (
        re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM.{12}[\x0c\x28\x6c\x7c]\0\0\0", re.S),
        "image",
    ),
    (re.compile(rb"II\*\0|MM\0\*|....ftyp(?:avif|heic|heix|mif1)", re.S), "image"),
    (re.compile(rb"%PDF-"), "document"),
    (
        re.compile(rb"ID3[\x02-\x04]|\xff[\xfb\xf3\xf2\xf1\xf9]|OggS\0|fLaC|RIFF....WAVE|....ftypM4A |#!AMR", re.S),
        "audio",
    ),
    (re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01\xba", re.S), "video"),
)


def kind_of(head: bytes) -> str:
    """`image`, `document`, `audio` or `video`, the end of the name of the tool that reads it; empty for all else."""
    return next((kind for begins, kind in KINDS if begins.match(head)), "")
