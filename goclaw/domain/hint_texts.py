"""What a model is told besides the conversation, in three languages. Contract: agent-loop.md §9.3."""

from __future__ import annotations

from goclaw.domain.texts import LOCALES, Locale, in_locale

HINTS: dict[str, dict[Locale, str]] = {
    "budget": {
        "en": "Three quarters of your steps are used. Come to an end: answer soon with what you have.",
        "vi": "Bạn đã dùng ba phần tư số bước. Hãy kết thúc: sớm trả lời bằng những gì đang có.",
        "zh": "您已用去四分之三的步骤。请收尾：尽快用已有内容作答。",
    },
    "cut": {
        "en": (
            "Your last answer was cut off inside of a tool call, which was not run. "
            "Say less at once, or call with less."
        ),
        "vi": (
            "Câu trả lời trước bị cắt giữa một lệnh gọi công cụ nên lệnh đó không được chạy. "
            "Hãy nói ngắn hơn hoặc gọi với ít dữ liệu hơn."
        ),
        "zh": "您上一条回答在工具调用中被截断，该调用没有执行。请一次少说一些，或用更少的参数调用。",
    },
    "closing": {
        "en": "You have used all your tool calls. Answer now with what you know; say what is missing.",
        "vi": "Bạn đã dùng hết lượt gọi công cụ. Hãy trả lời ngay với những gì bạn biết; nói rõ còn thiếu gì.",
        "zh": "您的工具调用已用完。请立即用已知内容作答，并说明还缺什么。",
    },
    "circle": {
        "en": "Answer now with what you know; say what is missing. You have no tools any more: {why}",
        "vi": "Hãy trả lời ngay với những gì bạn biết; nói rõ còn thiếu gì. Bạn không còn công cụ nào: {why}",
        "zh": "请立即用已知内容作答，并说明还缺什么。您已没有工具可用：{why}",
    },
    "same": {
        "en": (
            "You called {tool} {count} times with the same arguments and got the same result; "
            "repeating it will not change it"
        ),
        "vi": "Bạn đã gọi {tool} {count} lần với cùng tham số và nhận cùng kết quả; gọi lại cũng không thay đổi",
        "zh": "您用相同的参数调用了 {tool} {count} 次，结果相同；重复调用不会改变结果",
    },
    "alike": {
        "en": "{tool} gave the same result for {count} different arguments; try another way",
        "vi": "{tool} cho cùng kết quả với {count} bộ tham số khác nhau; hãy thử cách khác",
        "zh": "{tool} 对 {count} 组不同参数给出了相同的结果；请换一种方法",
    },
    "reading": {
        "en": "{count} calls in a row only looked at things; act on what you know, or answer",
        "vi": "{count} lệnh gọi liên tiếp chỉ để xem; hãy hành động theo những gì bạn biết, hoặc trả lời",
        "zh": "连续 {count} 次调用都只是查看；请根据已知内容行动，或作答",
    },
    "loop_step": {
        "en": (
            "[Step {step} of {most}. {tokens} of {budget} tokens are used, {left} minutes are left. "
            "Go on. When all is done, end your answer with {keyword}.]"
        ),
        "vi": (
            "[Bước {step}/{most}. Đã dùng {tokens}/{budget} token, còn {left} phút. "
            "Hãy tiếp tục. Khi xong hết, kết thúc câu trả lời bằng {keyword}.]"
        ),
        "zh": (
            "[第 {step}/{most} 步。已用 {tokens}/{budget} 个令牌，还剩 {left} 分钟。"
            "请继续。全部完成后，以 {keyword} 结束回答。]"
        ),
    },
    "attempt": {
        "en": "[This is attempt {attempt} at this task. The one before failed: {error}]",
        "vi": "[Đây là lần thử thứ {attempt} của nhiệm vụ này. Lần trước thất bại: {error}]",
        "zh": "[这是此任务的第 {attempt} 次尝试。上一次失败：{error}]",
    },
    "attempt_done": {
        "en": "Already done, do not repeat:",
        "vi": "Đã làm rồi, đừng lặp lại:",
        "zh": "已经完成，请勿重复：",
    },
    "call_succeeded": {"en": "- {tool}: succeeded", "vi": "- {tool}: thành công", "zh": "- {tool}：成功"},
    "call_failed": {"en": "- {tool}: failed", "vi": "- {tool}: thất bại", "zh": "- {tool}：失败"},
    "failed_after": {
        "en": "[This turn failed: {error}. Done before that: {tools}.]",
        "vi": "[Lượt này thất bại: {error}. Trước đó đã thực hiện: {tools}.]",
        "zh": "[本轮失败：{error}。此前已执行：{tools}。]",
    },
    "understood": {
        "en": "I remember what was said before.",
        "vi": "Tôi nhớ những gì đã nói trước đó.",
        "zh": "我记得之前说过的内容。",
    },
    "summarised": {
        "en": "Understood. I go on from there.",
        "vi": "Đã hiểu. Tôi sẽ tiếp tục từ đó.",
        "zh": "明白了。我将从这里继续。",
    },
    "removed": {
        "en": "[{count} earlier messages were removed: they could not be summarised.]",
        "vi": "[{count} tin nhắn trước đó đã bị bỏ: không thể tóm tắt.]",
        "zh": "[之前的 {count} 条消息已移除：无法生成摘要。]",
    },
    "sealed": {
        "en": "[{count} earlier messages are kept in a form that only the model can read which they were written for.]",
        "vi": "[{count} tin nhắn trước đó được giữ ở dạng chỉ mô hình mà chúng được viết cho mới đọc được.]",
        "zh": "[之前的 {count} 条消息以仅对应模型可读的形式保存。]",
    },
    "children": {
        "en": "Subagents at work now, whose results are still to come:",
        "vi": "Các tác tử con đang làm việc, kết quả chưa có:",
        "zh": "正在工作的子智能体，其结果尚未返回：",
    },
    "onboarding": {
        "en": "You have not written down anything about this user yet: keep what you learn in USER.md.",
        "vi": "Bạn chưa ghi lại gì về người dùng này: hãy lưu những gì bạn biết vào USER.md.",
        "zh": "您还没有记下这位用户的任何信息：请把了解到的内容保存到 USER.md。",
    },
}


def hint(key: str, locale: str, **facts: object) -> str:
    """The hint in `locale`; English for a language we do not speak."""
    return in_locale(HINTS[key], locale).format(**facts)


def locale_of(language: str, asked: str) -> Locale:
    """In which language hints are: the one an agent answers this user in, if we speak it, else the one he asked in."""
    spoken = language.replace("_", "-").partition("-")[0].lower()
    return next((known for wanted in (spoken, asked) for known in LOCALES if known == wanted), "en")
