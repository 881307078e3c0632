"""What commands in a chat answer, in three languages. Contract: channels.md §10."""

from __future__ import annotations

from goclaw.domain.texts import Locale, in_locale

SENTENCES: dict[str, dict[Locale, str]] = {
    "reset": {
        "en": "The conversation begins anew.",
        "vi": "Cuộc trò chuyện bắt đầu lại từ đầu.",
        "zh": "对话已重新开始。",
    },
    "empty": {"en": "There is nothing to compact yet.", "vi": "Chưa có gì để rút gọn.", "zh": "还没有可压缩的内容。"},
    "short": {
        "en": "Nothing to compact: {before} messages.",
        "vi": "Không có gì để rút gọn: {before} tin nhắn.",
        "zh": "无需压缩：{before} 条消息。",
    },
    "compacted": {
        "en": "Compacted {gone} messages into a summary, {after} are kept.",
        "vi": "Đã rút gọn {gone} tin nhắn thành một bản tóm tắt, giữ lại {after}.",
        "zh": "已将 {gone} 条消息压缩为摘要，保留 {after} 条。",
    },
    "context": {
        "en": (
            "{window} tokens fit:\ninstructions: {soul}\nmemory: {memory}\npins: {pins}\nshared: {shared}\n"
            "summary: {summary}\nmessages: {messages}\ntools: {tools}\nkept for the answer: {output}\nfree: {free}"
        ),
        "vi": (
            "Cửa sổ có {window} token:\nchỉ dẫn: {soul}\nbộ nhớ: {memory}\nghim: {pins}\nchia sẻ: {shared}\n"
            "tóm tắt: {summary}\n"
            "tin nhắn: {messages}\ncông cụ: {tools}\ndành cho câu trả lời: {output}\ncòn trống: {free}"
        ),
        "zh": (
            "窗口共 {window} 个令牌：\n指令: {soul}\n记忆: {memory}\n固定内容: {pins}\n共享: {shared}\n"
            "摘要: {summary}\n消息: {messages}\n工具: {tools}\n留给回答: {output}\n空闲: {free}"
        ),
    },
    "context_low": {
        "en": "Less than a tenth is free: /compact makes room.",
        "vi": "Còn trống chưa tới một phần mười: /compact sẽ giải phóng chỗ.",
        "zh": "空闲不足十分之一：用 /compact 腾出空间。",
    },
    "queue": {"en": "Queue mode: {mode}.", "vi": "Chế độ hàng đợi: {mode}.", "zh": "队列模式：{mode}。"},
    "status": {
        "en": "{messages} messages, {tokens} tokens; {running} running, {waiting} waiting; up {seconds} s.",
        "vi": "{messages} tin nhắn, {tokens} token; {running} đang chạy, {waiting} đang chờ; chạy được {seconds} giây.",
        "zh": "{messages} 条消息，{tokens} 个令牌；{running} 个运行中，{waiting} 个等待中；已运行 {seconds} 秒。",
    },
    "holds": {
        "en": "Run {run} holds {keys}.",
        "vi": "Lượt chạy {run} đang giữ {keys}.",
        "zh": "运行 {run} 占用 {keys}。",
    },
    "waits_for": {
        "en": "Run {run} waits for {keys}.",
        "vi": "Lượt chạy {run} đang chờ {keys}.",
        "zh": "运行 {run} 等待 {keys}。",
    },
    "no_run": {"en": "No run yet.", "vi": "Chưa có lượt chạy nào.", "zh": "还没有运行记录。"},
    "run": {
        "en": "Run {run}: {state}, attempt {attempt}, {seconds} s, last event {event}.",
        "vi": "Lượt chạy {run}: {state}, lần thử {attempt}, {seconds} giây, sự kiện cuối {event}.",
        "zh": "运行 {run}：{state}，第 {attempt} 次尝试，{seconds} 秒，最后事件 {event}。",
    },
    "answering": {
        "en": "Agent {agent} with {provider}/{model}.",
        "vi": "Tác tử {agent} dùng {provider}/{model}.",
        "zh": "智能体 {agent}，使用 {provider}/{model}。",
    },
    "house": {
        "en": "Lane {lane}: {active} of {limit} busy, {queued} queued. Gateway: {health}.",
        "vi": "Làn {lane}: {active}/{limit} đang bận, {queued} đang xếp hàng. Cổng: {health}.",
        "zh": "通道 {lane}：{active}/{limit} 忙碌，{queued} 个排队。网关：{health}。",
    },
    "help": {
        "en": "Commands: {commands}. @agent TEXT asks another agent once, @@agent from now on.",
        "vi": "Lệnh: {commands}. @agent VĂN BẢN hỏi tác tử khác một lần, @@agent từ nay về sau.",
        "zh": "命令：{commands}。@agent 文本 只问一次另一个智能体，@@agent 从现在起一直使用。",
    },
    "agents": {
        "en": "Agents: {agents}. Answering here: {agent}.",
        "vi": "Các tác tử: {agents}. Đang trả lời ở đây: {agent}.",
        "zh": "智能体：{agents}。此处由 {agent} 回答。",
    },
    "agent": {
        "en": "Agent {agent} answers here.",
        "vi": "Tác tử {agent} trả lời ở đây.",
        "zh": "此处由智能体 {agent} 回答。",
    },
    "agent_home": {
        "en": "This chat's own agent answers again.",
        "vi": "Tác tử riêng của cuộc trò chuyện này trả lời trở lại.",
        "zh": "恢复由本对话自己的智能体回答。",
    },
    "no_agent": {
        "en": "There is no agent {agent}.",
        "vi": "Không có tác tử {agent}.",
        "zh": "没有智能体 {agent}。",
    },
    "no_agent_but": {
        "en": "There is no agent {agent}. Did you mean {alike}?",
        "vi": "Không có tác tử {agent}. Ý bạn là {alike}?",
        "zh": "没有智能体 {agent}。您是指 {alike} 吗？",
    },
    "for_all": {
        "en": "@all is for teams; name one agent.",
        "vi": "@all chỉ dành cho nhóm; hãy nêu một tác tử.",
        "zh": "@all 仅用于团队；请指定一个智能体。",
    },
    "model": {
        "en": "Model of this session: {provider}/{model}.",
        "vi": "Mô hình của phiên này: {provider}/{model}.",
        "zh": "本会话的模型：{provider}/{model}。",
    },
    "no_locks": {"en": "Nothing is locked.", "vi": "Không có gì bị khóa.", "zh": "没有锁定的资源。"},
    "more": {"en": "And {count} more.", "vi": "Và {count} mục khác.", "zh": "还有 {count} 项。"},
    "approved": {"en": "Allowed once: {id}.", "vi": "Đã cho phép một lần: {id}.", "zh": "已允许一次：{id}。"},
    "approved_always": {
        "en": "Allowed from now on: {id}.",
        "vi": "Đã cho phép từ nay: {id}.",
        "zh": "从现在起始终允许：{id}。",
    },
    "denied": {"en": "Refused: {id}.", "vi": "Đã từ chối: {id}.", "zh": "已拒绝：{id}。"},
    "reloaded": {
        "en": "Configuration read again. Applied: {applied}. With the next start: {restart}.",
        "vi": "Đã đọc lại cấu hình. Đã áp dụng: {applied}. Từ lần khởi động sau: {restart}.",
        "zh": "已重新读取配置。已应用：{applied}。下次启动生效：{restart}。",
    },
    "reload_refused": {
        "en": "The configuration is wrong, nothing has changed:\n{errors}",
        "vi": "Cấu hình sai, không có gì thay đổi:\n{errors}",
        "zh": "配置有误，未做任何更改：\n{errors}",
    },
    "config_set": {
        "en": "Configuration changed: {keys}.",
        "vi": "Đã thay đổi cấu hình: {keys}.",
        "zh": "配置已更改：{keys}。",
    },
    "config_set_later": {
        "en": "Configuration changed. It counts from the next start: {restart}.",
        "vi": "Đã thay đổi cấu hình. Có hiệu lực từ lần khởi động sau: {restart}.",
        "zh": "配置已更改，下次启动后生效：{restart}。",
    },
    "config_overridden": {
        "en": "Written, but a variable of the environment wins: {keys}.",
        "vi": "Đã ghi, nhưng biến môi trường được ưu tiên: {keys}.",
        "zh": "已写入，但环境变量优先：{keys}。",
    },
    "estop": {
        "en": "All agents are stopped.",
        "vi": "Tất cả tác tử đã dừng.",
        "zh": "所有智能体已停止。",
    },
}


def sentence(key: str, locale: str, **facts: object) -> str:
    """The sentence in `locale`; English for a language we do not speak."""
    return in_locale(SENTENCES[key], locale).format(**facts)
