"""What commands in a chat answer, in three languages. Contract: channels.md §10."""

from __future__ import annotations

from goclaw.domain.texts import Locale

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
}


def sentence(key: str, locale: str, **facts: object) -> str:
    """The sentence in `locale`; English for a language we do not speak."""
    texts = SENTENCES[key]
    return str(texts.get(locale, texts["en"])).format(**facts)  # type: ignore[call-overload]  # any text is fair
