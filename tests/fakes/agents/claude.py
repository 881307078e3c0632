"""The `claude` program as far as `-p` goes: sessions in a folder, events on stdout, misbehaviour on request.

What the last paragraph of the message says chooses what happens; to any other the answer is "heard: " and itself.

    tools          a thought, a tool call with its result, and text around it
    overloaded     an error the vendor gave
    logged out     the error of somebody who has no login
    die            half an answer, then exit code 3
    hang           a word, then nothing until SIGINT
    deaf           the same, and SIGINT and SIGTERM are ignored
    garbage        lines that are no events, then an answer
    env            its environment

Sessions, and a journal of its calls, are in $HOME/.claude.
"""

import json
import os
import signal
import sys

HOME = os.path.join(os.environ["HOME"], ".claude")
WORDS = sys.argv[1:]


def option(name):
    return WORDS[WORDS.index(name) + 1] if name in WORDS else None


def event(type, **members):
    sys.stdout.write(json.dumps({"type": type, "session_id": SESSION, **members}) + "\n")
    sys.stdout.flush()


def says(*blocks, speaker="assistant"):
    event(speaker, message={"role": speaker, "content": list(blocks)})


def text(words):
    return {"type": "text", "text": words}


def result(words, **members):
    counts = {
        "input_tokens": 7,
        "output_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "server_tool_use": {"web_search_requests": 0},
    }
    whole = {"subtype": "success", "is_error": False, "result": words, "total_cost_usd": 0.0125, "usage": counts}
    event("result", **{**whole, **members})


def fail(words):
    sys.stderr.write(words + "\n")
    sys.exit(1)


def message():
    if option("--input-format") != "stream-json":
        return WORDS[WORDS.index("--") + 1]
    content = json.loads(sys.stdin.readline())["message"]["content"]
    pictures = sum(block["type"] == "image" for block in content)
    said = "".join(block.get("text", "") for block in content)
    return f"{said} and {pictures} pictures, {len(said)} characters"


def note(**facts):
    with open(os.path.join(HOME, "calls"), "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "words": WORDS, "cwd": os.getcwd(), **facts}) + "\n")


os.makedirs(HOME, exist_ok=True)
if WORDS[:1] == ["auth"]:
    with open(os.path.join(HOME, "login")) as file:
        sys.stdout.write(file.read())
    sys.exit(0)
SESSION = option("--resume") or option("--session-id")
KNOWN = os.path.join(HOME, SESSION)
if option("--resume") and not os.path.exists(KNOWN):
    fail(f"No conversation found with session ID: {SESSION}")
if option("--session-id") and os.path.exists(KNOWN):
    fail(f"Error: Session ID {SESSION} is already in use.")
open(KNOWN, "a").close()
SAID = message()
try:
    with open("CLAUDE.md") as file:
        context = file.read()
except FileNotFoundError:
    context = None
note(message=SAID, context=context)
event("system", subtype="init", cwd=os.getcwd(), tools=["Bash"])
what = SAID.rpartition("\n\n")[2]
if what == "tools":
    says({"type": "thinking", "thinking": "hm", "signature": "x"}, text("Let me look."))
    says({"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "a"}})
    says({"type": "tool_result", "tool_use_id": "t1", "content": [text("contents")], "is_error": False}, speaker="user")
    says({"type": "tool_use", "id": "t2", "name": "Bash", "input": {"command": "false"}})
    says({"type": "tool_result", "tool_use_id": "t2", "content": "exit 1", "is_error": True}, speaker="user")
    says(text("Seen."))
    result("Seen.")
elif what == "overloaded":
    result("API Error: 529 Overloaded", is_error=True)
    sys.exit(1)
elif what == "logged out":
    says(text("Invalid API key · Please run /login"))
    result("Invalid API key · Please run /login", is_error=True)
    sys.exit(1)
elif what == "die":
    says(text("half"))
    sys.stderr.write("something broke\n")
    sys.stderr.flush()
    os._exit(3)
elif what in ("hang", "deaf"):
    if what == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    says(text("wait"))
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        sys.exit(130)
elif what == "garbage":
    for line in ("hello", "", "[1, 2", "[]", "17", '{"type": 5}', '{"type": "assistant", "message": 3}', "\x00" * 99):
        sys.stdout.write(line + "\n")
    says({"type": "text"}, 3, {"type": "tool_use"}, {"type": "unknown"})
    event("assistant", message={"content": "no list"})
    event("stream_event", event={})
    result("fine", usage=None)
elif what == "env":
    result(json.dumps(sorted(os.environ)))
else:
    says(text(f"heard: {what}"))
    result(f"heard: {what}")
