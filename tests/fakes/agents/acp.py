"""An agent that speaks the Agent Client Protocol on stdio, and misbehaves on request.

    python -S tests/fakes/agents/acp.py [--no-load] [--deaf] [--journal FILE]

What the last paragraph of a prompt says chooses what happens; to any other the answer is "heard: " and itself.

    die            half an answer, then exit code 3
    die silently   exit code 3 before a word
    hang           a word, then nothing until session/cancel, which ends it as cancelled
    stop REASON    that stop reason
    garbage        lines that are no messages, then an answer
    endless        a line without an end
    flood          an answer without an end
    refuse TEXT    an error for the prompt
    think          a thought, a plan, a tool call with its end, and text around it
    ask METHOD {…} that request of the client; the answer is what came back
    permit KIND    session/request_permission for a call of that kind; the answer is the outcome
    env            its environment

Several of them are separated by " ; ".

`--journal FILE` writes a line per request it got. `--deaf` ignores SIGTERM, session/cancel and the end of its input.
Runs without the site packages and imports only what starts fast.
"""

import json
import os
import signal
import sys

ARGUMENTS = sys.argv[1:]
DEAF = "--deaf" in ARGUMENTS
LOADS = "--no-load" not in ARGUMENTS
JOURNAL = ARGUMENTS[ARGUMENTS.index("--journal") + 1] if "--journal" in ARGUMENTS else None
THOUGHT = [
    {"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "hm"}},
    {"sessionUpdate": "plan", "entries": [{"content": "look", "priority": "high", "status": "pending"}]},
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Let me look."}},
    {
        "sessionUpdate": "tool_call",
        "toolCallId": "c1",
        "title": "Read a.txt",
        "kind": "read",
        "status": "pending",
        "rawInput": {"path": "a.txt"},
    },
    {"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "in_progress"},
    {
        "sessionUpdate": "tool_call_update",
        "toolCallId": "c1",
        "status": "completed",
        "content": [{"type": "content", "content": {"type": "text", "text": "contents"}}],
    },
    {"sessionUpdate": "available_commands_update", "availableCommands": []},
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Seen."}},
]
sessions = 0
asked = 0


def note(text):
    if JOURNAL:
        with open(JOURNAL, "a") as file:
            file.write(text + "\n")


def write(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(session, body):
    write({"method": "session/update", "params": {"sessionId": session, "update": body}})


def say(session, text):
    update(session, {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})


def read():
    line = sys.stdin.readline()
    if not line:
        if DEAF:
            signal.pause()
        sys.exit(0)
    return json.loads(line)


def request(method, params):
    """The client's answer: its result or its error."""
    global asked
    asked += 1
    write({"id": f"a{asked}", "method": method, "params": params})
    while True:
        message = read()
        if message.get("id") == f"a{asked}":
            return message.get("result", message.get("error"))


def perform(session, what):
    """One thing a prompt asks for. Returns the stop reason."""
    word, _, rest = what.partition(" ")
    if what == "die":
        say(session, "half")
        sys.stderr.write("something broke\n")
        os._exit(3)
    elif what == "die silently":
        os._exit(3)
    elif what == "hang":
        say(session, "wait")
        while read().get("method") != "session/cancel" or DEAF:
            pass
        return "cancelled"
    elif word == "stop":
        say(session, "said")
        return rest
    elif what == "garbage":
        for line in ("hello", "", "[1, 2", '{"jsonrpc":', "[]", "17", '{"id": {}}', '{"method": 5}', "\x00\xff" * 9):
            sys.stdout.write(line + "\n")
        write({"id": 99999, "result": {}})
        write({"method": "session/update", "params": {"update": {"sessionUpdate": 3}}})
        write({"method": "session/update", "params": []})
        write({"method": "unknown/notice"})
        say(session, "fine")
    elif what == "endless":
        while True:
            os.write(1, b"x" * 65536)
    elif what == "flood":
        while True:
            say(session, "x" * 2_000_000)
    elif what == "think":
        for body in THOUGHT:
            update(session, body)
    elif word == "ask":
        method, _, params = rest.partition(" ")
        say(session, json.dumps(request(method, {"sessionId": session, **json.loads(params)})))
    elif word == "permit":
        options = [
            {"optionId": f"{kind}!", "name": kind, "kind": kind}
            for kind in ("allow_always", "allow_once", "reject_once")
        ]
        call = {"toolCallId": "p1", "title": "do", "kind": rest}
        say(session, json.dumps(request("session/request_permission", {"options": options, "toolCall": call})))
    elif what == "env":
        say(session, json.dumps(sorted(os.environ)))
    else:
        say(session, "heard: " + what)
    return "end_turn"


def prompt(message):
    session = message["params"]["sessionId"]
    text = "".join(block.get("text", "") for block in message["params"]["prompt"])
    note("prompt " + json.dumps(text))
    text = text.rpartition("\n\n")[2]
    if text.startswith("refuse "):
        write({"id": message["id"], "error": {"code": -32000, "message": text[7:]}})
        return
    reason = "end_turn"
    for what in text.split(" ; "):
        reason = perform(session, what)
    write({"id": message["id"], "result": {"stopReason": reason}})


def main():
    global sessions
    if DEAF:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(f"started {os.getpid()}")
    while True:
        message = read()
        method, params = message.get("method"), message.get("params", {})
        if method == "initialize":
            note("initialize " + json.dumps(params))
            caps = {"loadSession": LOADS, "promptCapabilities": {"image": True}}
            write({"id": message["id"], "result": {"protocolVersion": 1, "agentCapabilities": caps}})
        elif method == "session/new":
            sessions += 1
            note("new " + json.dumps(params))
            models = {"availableModels": [{"modelId": "fast"}, {"modelId": "deep"}], "currentModelId": "fast"}
            write({"id": message["id"], "result": {"sessionId": f"s{sessions}-{os.getpid()}", "models": models}})
        elif method == "session/load":
            note("load " + params["sessionId"])
            say(params["sessionId"], "an old answer, told again")
            write({"id": message["id"], "result": None})
        elif method == "session/set_model":
            note("model " + params["modelId"])
            write({"id": message["id"], "result": {}})
        elif method == "session/prompt":
            prompt(message)
        elif "id" in message and method:
            write({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    main()
