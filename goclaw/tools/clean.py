"""What every result goes through before anybody sees it: without secrets, and others' words marked as such.

Contract: tools.md §2 steps 10 and 11; security.md §2, §5.2, §6.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from goclaw.security.injection import Action, guarded
from goclaw.security.known import Known
from goclaw.security.redact import without_secrets
from goclaw.security.untrusted import wrap
from goclaw.tools.pipeline import Finish
from goclaw.tools.tool import Answer, Tool, ToolContext

BLOCKED = "Error: the result of {tool} contains text that looks like instructions and is withheld"


def scrubbing(known: Known) -> Finish:
    """Takes secrets out of all that an answer says."""

    async def finish(tool: Tool, ctx: ToolContext, answer: Answer) -> Answer:
        text = await without_secrets(answer.text, known.forms)
        for_user = text if answer.for_user == answer.text else await without_secrets(answer.for_user, known.forms)
        return replace(answer, text=text, for_user=for_user, data=await _data(answer.data, known))

    return finish


def marking(known: Known, injection: Action) -> Finish:
    """Looks into the words of others for orders, and wraps them."""

    async def finish(tool: Tool, ctx: ToolContext, answer: Answer) -> Answer:
        if answer.source is None:
            return answer
        where = {"surface": "tool", "tool": tool.name, "run": ctx.run_id, "session": ctx.asker.session_key}
        scanned = await guarded(
            answer.text, injection, known=known.forms, agent=ctx.asker.agent_key, user=ctx.asker.user_id, **where
        )
        if scanned.refused:
            return Answer(text=BLOCKED.format(tool=tool.name), failed=True)
        source = answer.source
        text = await wrap(scanned.text, source.kind, source.origin, noted=bool(scanned.patterns))
        return replace(answer, text=text)

    return finish


async def _data(data: Any, known: Known) -> Any:
    """JSON data is scrubbed as it is written, where a name stands before its value; what then is no JSON is nothing."""
    if data is None:
        return None
    try:
        return msgspec.json.decode(await without_secrets(msgspec.json.encode(data).decode(), known.forms))
    except msgspec.DecodeError:
        return None
