"""What people ask for in so many words, and the tool that does it. Rows of providers.md §16.4.

A pattern matches a whole clause; its named groups fill the arguments. An argument's name lists the property names a
schema may use for it, the first that exists is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from goclaw.providers.offline.purposes import extract

SUMMARY = 4000  # characters of a summary that is written

Words = Mapping[str, str]  # the named groups of a match


class Use(Struct, frozen=True):
    """A tool, and what to hand it: a text with `{group}` in it, a value, or a function of the groups.

    `reads`: it makes something of what was read before, so it comes after everything else of its batch.
    """

    tool: str
    arguments: dict[str, str | bool | Callable[[Words], Any]] = {}
    reads: bool = False


class Intent(Struct, frozen=True, kw_only=True):
    id: str
    says: str  # how a person would put it; shown by `help`
    patterns: tuple[re.Pattern[str], ...]
    uses: tuple[Use, ...] = ()  # the first whose tool is offered; none = answered without a tool
    defaults: dict[str, str] = {}  # groups that may be absent


def _intent(id: str, says: str, patterns: str, *uses: Use, **defaults: str) -> Intent:
    """A row; `patterns` has one a line."""
    compiled = tuple(re.compile(line.strip(), re.IGNORECASE | re.DOTALL) for line in patterns.strip().splitlines())
    return Intent(id=id, says=says, patterns=compiled, uses=uses, defaults=defaults)


def job(words: Words) -> dict[str, Any]:
    """A cron job; one for a time of day runs once and is deleted (sessions-lanes-cron.md §5.1)."""
    message = words["message"].strip()
    name = re.sub(r"[^a-z0-9]+", "-", message.lower()).strip("-")[:40].strip("-") or "reminder"
    if "hour" in words:
        expression = f"{int(words['minute'])} {int(words['hour'])} * * *"
        schedule: dict[str, Any] = {"kind": "cron", "expr": expression}
        return {"name": name, "schedule": schedule, "message": message, "deleteAfterRun": True}
    minutes = 60 if words["unit"].lower().startswith(("h", "小时", "giờ")) else 1
    return {
        "name": name,
        "schedule": {"kind": "every", "everyMs": int(words["every"]) * minutes * 60_000},
        "message": message,
    }


def noted(words: Words) -> str:
    """A summary of what was read in this run, a line a paragraph."""
    return extract(re.split(r"\n\s*\n", words[SEEN]), SUMMARY) + "\n"


SEEN = "seen"  # the word that holds what was read in this run
PATH = "path|file|filename|file_path"
PATTERN = "pattern|query|regex"
QUERY = "query|q|text"

INTENTS = (
    _intent(
        "help",
        "help",
        r"""
        help(?: me)?|what can you do
        帮助|你(?:能|会|可以)做什么
        trợ giúp|giúp(?: tôi)?|bạn (?:có thể )?làm (?:được )?gì
        """,
    ),
    _intent(
        "greet",
        "hello",
        r"""
        (?:hello|hi|hey|good (?:morning|afternoon|evening))(?:,? (?:there|goclaw))?
        你好|您好|嗨
        xin chào|chào(?: bạn)?
        """,
    ),
    _intent(
        "list_files",
        "list files in <folder>",
        r"""
        (?:list|show)(?: me)?(?: all| the| my)? files(?: (?:in|of|under) (?P<path>\S+))?
        ls(?: (?P<path>\S+))?
        what files(?: are (?:there|here))?(?: in (?P<path>\S+))?
        (?:列出|显示|查看)(?:所有)?文件
        (?:列出|显示|查看) ?(?P<path>[\w./~-]+) ?(?:里|中|下)?的文件
        liệt kê (?:các )?(?:tệp|tập tin|file)(?: trong (?P<path>\S+))?
        """,
        Use("list_files", {PATH: "{path}"}),
        path=".",
    ),
    _intent(
        "read_file",
        "read <path>",
        r"""
        (?:read|open|show|cat)(?: me)?(?: the)?(?: file)? (?P<path>(?!https?://)\S*[./]\S*)
        (?:读取|阅读|打开|查看)(?:文件)? ?(?P<path>(?!https?://)\S*[./]\S*)
        (?:đọc|mở|xem)(?: tệp| tập tin| file)? (?P<path>(?!https?://)\S*[./]\S*)
        """,
        Use("read_file", {PATH: "{path}"}),
    ),
    _intent(
        "write_file",
        'write "text" to <path>',
        r"""
        (?:write|save) "(?P<content>[^"]*)" (?:in)?to (?:the )?(?:file )?(?P<path>\S+)
        (?:把|将) ?"(?P<content>[^"]*)" ?(?:写入|写到|保存到) ?(?P<path>\S+)
        (?:ghi|lưu|viết) "(?P<content>[^"]*)" vào (?:tệp |tập tin |file )?(?P<path>\S+)
        """,
        Use("write_file", {PATH: "{path}", "content|text": "{content}"}),
    ),
    _intent(
        "write_file",
        "write a summary to <path>",
        r"""
        (?:write|save|create)(?: the)?(?: file)? (?P<path>[^\s"]*[./][^\s"]*)
        (?:write|save) (?:a|the) summary(?: of (?:it|them|that))? (?:in)?to(?: the)?(?: file)? (?P<path>[^\s"]+)
        (?:写入|保存到|(?:把|将)?(?:摘要|总结)(?:写入|写到|保存到)) ?(?P<path>[^\s"]*[./][^\s"]*)
        (?:ghi|lưu|viết)(?: (?:bản )?tóm tắt)? vào(?: tệp| tập tin| file)? (?P<path>[^\s"]*[./][^\s"]*)
        """,
        Use("write_file", {PATH: "{path}", "content|text": noted}, reads=True),
    ),
    _intent(
        "search_files",
        'find "text" in <folder>',
        r"""
        (?:find|grep|search(?: for)?) "(?P<pattern>[^"]+)"(?: in (?P<path>\S+))?
        (?:查找|搜索) ?"(?P<pattern>[^"]+)"
        tìm "(?P<pattern>[^"]+)"(?: trong (?P<path>\S+))?
        """,
        Use("search", {PATTERN: "{pattern}", "path": "{path}"}),
        Use("glob", {PATTERN: "{pattern}", "path": "{path}"}),
        path=".",
    ),
    _intent(
        "search_files",
        "find *.txt in <folder>",
        r"find (?:files? )?(?:named )?(?P<pattern>[^\s\"]*[*?][^\s\"]*)(?: in (?P<path>\S+))?",
        Use("glob", {PATTERN: "{pattern}", "path": "{path}"}),
        path=".",
    ),
    _intent(
        "run",
        "run `command`",
        r"""
        (?:run|execute)(?: the)?(?: command)? `(?P<command>[^`]+)`
        (?:运行|执行)(?:命令)? ?`(?P<command>[^`]+)`
        chạy(?: lệnh)? `(?P<command>[^`]+)`
        """,
        Use("exec", {"command|cmd": "{command}"}),
    ),
    _intent(
        "run",
        "count the lines of <path>",
        r"""
        count(?: the)? lines (?:in|of) (?P<path>[\w./][\w./-]*)
        (?:数|统计)(?:一下)? ?(?P<path>[\w./][\w./-]*) ?的?行数
        đếm (?:số )?dòng (?:trong|của) (?P<path>[\w./][\w./-]*)
        """,
        Use("exec", {"command|cmd": "wc -l {path}"}),
    ),
    _intent(
        "calc",
        "calculate 2 * (3 + 4)",
        r"""
        (?:calculate|compute|what(?:'s| is)|how much is|=) ?(?P<expression>(?=\D{0,20}\d)[-+*/%^().\d\s×÷]{1,200}?)=?
        (?:计算|tính) ?(?P<expression>(?=\D{0,20}\d)[-+*/%^().\d\s×÷（）]{1,200}?)=?
        (?P<expression>[-(]{0,20}\d[\d.\s]{0,100}[-+*/%^×÷][-+*/%^().\d\s×÷]{1,200}?)=?
        """,
    ),
    _intent(
        "time",
        "what time is it",
        r"""
        (?:what(?:'s| is) )?(?:the )?(?:time|date|day)(?: (?:today|now))?
        what (?:time|date|day) is (?:it|today)(?: today| now)?
        现在几点了?|今天(?:几号|星期几|是?几月几[号日])
        (?:bây giờ (?:là )?)?mấy giờ(?: rồi)?|hôm nay (?:là )?(?:ngày mấy|ngày bao nhiêu|thứ mấy)
        """,
        Use("datetime"),
    ),
    _intent(
        "fetch",
        "fetch <http address>",
        r"""
        (?:fetch|open|get|read)(?: the)?(?: page| url)? (?P<url>https?://\S+)
        (?:打开|获取|抓取)(?:网页)? ?(?P<url>https?://\S+)
        (?:tải|mở)(?: trang)? (?P<url>https?://\S+)
        """,
        Use("web_fetch", {"url|uri": "{url}"}),
    ),
    _intent(
        "search_web",
        "search the web for <words>",
        r"""
        search (?:the web|the internet|online) for (?P<query>.+)
        (?:上网|在?网上) ?(?:搜索|查找?) ?(?P<query>.+)
        tìm (?:kiếm )?trên (?:web|mạng|internet) (?P<query>.+)
        """,
        Use("web_search", {QUERY: "{query}"}),
    ),
    _intent(
        "remember",
        "remember that <key> is <value>",
        r"""
        remember(?: that)? (?P<key>[^=]{1,100}?) (?:is|are|=) (?P<value>.+)
        (?:请)?记住[:：]? ?(?P<key>[^=]{1,100}?) ?(?:是|=) ?(?P<value>.+)
        (?:hãy )?(?:ghi )?nhớ(?: rằng)? (?P<key>[^=]{1,100}?) (?:là|=) (?P<value>.+)
        """,
        Use("remember_fact", {"key|name": "{key}", "value": "{value}"}),
        Use("write_file", {PATH: "MEMORY.md", "content|text": "- {key}: {value}\n", "append": True}),
    ),
    _intent(
        "recall",
        "what do you know about <topic>",
        r"""
        what do you (?:know|remember) about (?P<query>.+)
        关于(?P<query>.+?)你(?:知道|记得)什么
        你(?:知道|记得)(?P<query>.+?)的?什么
        bạn (?:biết|nhớ) gì về (?P<query>.+)
        """,
        Use("memory_search", {QUERY: "{query}"}),
    ),
    _intent(
        "tasks_list",
        "show tasks",
        r"""
        (?:list|show)(?: me)?(?: all| the| my)? tasks|(?:show (?:the )?)?task board
        (?:列出|显示|查看)(?:所有)?任务(?:列表|看板)?
        (?:liệt kê|xem) (?:các )?(?:công việc|nhiệm vụ)
        """,
        Use("team_tasks", {"action": "list"}),
    ),
    _intent(
        "task_add",
        'add task "x" for <agent>',
        r"""
        (?:create|add)(?: a)?(?: new)? task "(?P<subject>[^"]+)"(?: (?:for|to) @?(?P<assignee>[\w.-]+))?
        (?:创建|添加|新建)任务 ?"(?P<subject>[^"]+)"(?: ?给 ?@?(?P<assignee>[\w.-]+))?
        (?:tạo|thêm) (?:công việc|nhiệm vụ) "(?P<subject>[^"]+)"(?: cho @?(?P<assignee>[\w.-]+))?
        """,
        Use("team_tasks", {"action": "create", "subject|title": "{subject}", "assignee|agent": "{assignee}"}),
    ),
    _intent(
        "task_done",
        "complete task <id>",
        r"""
        (?:complete|finish) task #?(?P<task_id>[\w.-]+)(?:(?: with|:) (?P<result>.+))?
        完成任务 ?#?(?P<task_id>[\w.-]+)
        hoàn thành (?:công việc|nhiệm vụ) #?(?P<task_id>[\w.-]+)
        """,
        Use("team_tasks", {"action": "complete", "task_id|id": "{task_id}", "result": "{result}"}),
        result="done",
    ),
    _intent(
        "delegate",
        "ask @agent to <task>",
        r"""
        (?:ask|tell) @(?P<agent>[a-z0-9_.-]+) (?:to )?(?P<task>.+)
        (?:让|请)? ?@(?P<agent>[a-z0-9_.-]+) ?(?P<task>.+)
        (?:nhờ|bảo) @(?P<agent>[a-z0-9_.-]+) (?P<task>.+)
        """,
        Use("delegate", {"action": "delegate", "agent|to": "{agent}", "task|message": "{task}"}),
    ),
    _intent(
        "spawn",
        "in background, <task>",
        r"""
        in (?:the )?background[,:]? (?P<task>.+)
        在?后台(?:运行|执行)?[,，:：]? ?(?P<task>.+)
        chạy nền[,:]? (?P<task>.+)
        """,
        Use("spawn", {"task|prompt": "{task}"}),
    ),
    _intent(
        "cron_add",
        "every <n> minutes <message>, at <HH:MM> <message>",
        r"""
        every (?P<every>\d{1,5}) ?(?P<unit>minutes?|mins?|hours?|[mh])[,:]? (?P<message>.+)
        at (?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)[,:]? (?P<message>.+)
        每 ?(?P<every>\d{1,5}) ?个?(?P<unit>分钟|小时)[,，:：]? ?(?P<message>.+)
        (?:在 ?)?(?P<hour>[01]?\d|2[0-3])[:：](?P<minute>[0-5]\d)[,，]? ?提醒我 ?(?P<message>.+)
        (?:cứ )?mỗi (?P<every>\d{1,5}) (?P<unit>phút|giờ)[,:]? (?P<message>.+)
        lúc (?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)[,:]? (?P<message>.+)
        """,
        Use("cron", {"action": "add", "job": job}),
    ),
    _intent(
        "cron_list",
        "list schedules",
        r"""
        (?:list|show)(?: me)?(?: all| the| my)? (?:schedules?|reminders|cron(?: jobs?)?)
        (?:列出|显示|查看)(?:所有)?(?:定时任务|计划任务|提醒)
        (?:liệt kê|xem) (?:các )?lịch(?: hẹn| trình)?
        """,
        Use("cron", {"action": "list"}),
    ),
    _intent(
        "message",
        'send "text" to <chat>',
        r"""
        send "(?P<message>[^"]+)" to (?:(?P<channel>[a-z_]+):)?(?P<target>\S+)
        (?:发送 ?|把 ?)"(?P<message>[^"]+)" ?(?:发送?)?[给到] ?(?:(?P<channel>[a-z_]+):)?(?P<target>\S+)
        gửi "(?P<message>[^"]+)" (?:cho|tới|đến) (?:(?P<channel>[a-z_]+):)?(?P<target>\S+)
        """,
        Use(
            "message",
            {"action": "send", "channel": "{channel}", "target|chat_id|to": "{target}", "message|text": "{message}"},
        ),
    ),
    _intent(
        "skills",
        "list skills",
        r"""
        (?:list|show|find)(?: me)?(?: all| the| my)? skills?(?: (?:for|about) (?P<query>.+))?
        (?:列出|显示|查看)(?:所有)?技能
        (?:liệt kê|xem) (?:các )?kỹ năng
        """,
        Use("skill_search", {QUERY: "{query}"}),
        query="*",
    ),
    _intent(
        "skills",
        "use skill <name>",
        r"""
        use (?:the )?skill (?P<name>\S+)
        使用技能 ?(?P<name>\S+)
        dùng kỹ năng (?P<name>\S+)
        """,
        Use("use_skill", {"name|skill": "{name}"}),
    ),
    _intent(
        "status",
        "status",
        r"""
        (?:show )?(?:the )?(?:session )?status
        状态
        trạng thái
        """,
        Use("session_status"),
        Use("sessions_list"),
    ),
    _intent(
        "status",
        "sessions",
        r"""
        (?:(?:list|show) )?(?:the |my )?sessions
        (?:列出|显示|查看)?会话(?:列表)?
        (?:danh sách )?phiên
        """,
        Use("sessions_list"),
        Use("session_status"),
    ),
    _intent(
        "summarise",
        "summarise this: <text>",
        r"""
        summari[sz]e(?: this)?:?\s(?P<text>.+)
        (?:总结|概括)(?:一下)?[:：]?(?P<text>.+)
        tóm tắt:?\s(?P<text>.+)
        """,
    ),
)
