"""Old results of tools made shorter, so that a long conversation fits; what is stored stays whole.

Contract: agent-loop.md §8.4. What is cut depends on the messages alone and a longer conversation cuts no less, so a
prefix that a provider cached stays the same from turn to turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage
from goclaw.domain.tokens import estimate_prompt
from goclaw.settings.pruning import Pruning

LARGEST = 0.3  # of the window, for one result
HEAD = 0.7  # of what is kept of such a one
LOOKED_AT = 500  # characters at the end that say whether the end matters
IMPORTANT = re.compile(r"error|exception|failed|traceback|summary|total|result|[\]}]\s*$", re.IGNORECASE)
TAIL = 0.7  # of what is kept, when it does
READERS = frozenset({"read_image", "read_document", "read_audio", "read_video"})
READ = 4000  # characters kept of each end of what they read


def prune(messages: Sequence[ChatMessage], overhead: int, window: int, settings: Pruning) -> list[ChatMessage]:
    """The same conversation, cheaper. `overhead`: tokens of prompt and tools, `window`: tokens of the model."""
    pruned = [_within(message, window) for message in messages]
    if settings.mode == "off" or _ratio(pruned, overhead, window) < settings.soft_trim_ratio:
        return pruned
    free = [place for place in _unprotected(pruned, settings.keep_last_assistants) if pruned[place].role == "tool"]
    for place in free:
        pruned[place] = _trimmed(pruned[place], settings)
    hard = settings.hard_clear
    clearable = [
        place
        for place in free
        if pruned[place].tool_name not in READERS and len(pruned[place].content) > len(hard.placeholder)
    ]
    # what is protected now will be trimmed later: counted as it is, a longer conversation would cut less
    tokens = overhead + estimate_prompt([_trimmed(message, settings) for message in pruned])
    if not hard.enabled or sum(len(pruned[place].content) for place in clearable) < settings.min_prunable_tool_chars:
        return pruned
    for place in clearable:  # oldest first
        if tokens / window < settings.hard_clear_ratio:
            break
        cleared = replace(pruned[place], content=hard.placeholder)
        tokens += estimate_prompt([cleared]) - estimate_prompt([pruned[place]])
        pruned[place] = cleared
    return pruned


def _ratio(messages: Sequence[ChatMessage], overhead: int, window: int) -> float:
    return (overhead + estimate_prompt(messages)) / window


def _unprotected(messages: Sequence[ChatMessage], keep: int) -> range:
    """From the first thing a user said to the last `keep` answers."""
    first = next((place for place, message in enumerate(messages) if message.role == "user"), len(messages))
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    if not keep:
        return range(first, len(messages))
    return range(first, answers[-keep] if len(answers) >= keep else first)


def _within(message: ChatMessage, window: int) -> ChatMessage:
    """No result may take the window from all others."""
    most = int(window * LARGEST) * 4
    if message.role != "tool" or len(message.content) <= most:
        return message
    head = int(most * HEAD)
    return replace(message, content=_cut(message.content, head, most - head))


def _trimmed(message: ChatMessage, settings: Pruning) -> ChatMessage:
    text, soft = message.content, settings.soft_trim
    if message.role != "tool" or len(text) <= soft.max_chars:
        return message
    if message.tool_name in READERS:
        head = tail = READ
    else:
        head, tail = soft.head_chars, soft.tail_chars
        if IMPORTANT.search(text[-LOOKED_AT:]):
            tail = int((head + tail) * TAIL)
            head = soft.head_chars + soft.tail_chars - tail
    if len(text) <= max(soft.max_chars, head + tail):
        return message
    return replace(message, content=_cut(text, head, tail))


def _cut(text: str, head: int, tail: int) -> str:
    note = f"[Tool result trimmed: kept first {head} chars and last {tail} chars of {len(text)} chars.]"
    return f"{text[:head]}\n...\n{text[len(text) - tail :]}\n{note}"
