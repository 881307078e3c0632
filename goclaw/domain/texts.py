"""Human texts of refusals, in three languages. Codes and details never change with the language.

Placeholders are members of `Err.details`. Contract: edge-http.md §0.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from goclaw.runtime.faults import Err

Locale = Literal["en", "vi", "zh"]
WISH = re.compile(
    r"(?P<language>[A-Za-z]{1,8})(-[A-Za-z0-9]{1,8})*\s*(;\s*[qQ]=(?P<quality>0(\.\d{0,3})?|1(\.0{0,3})?))?"
)
LOCALES: tuple[Locale, ...] = ("en", "vi", "zh")

TEXTS: dict[str, dict[Locale, str]] = {
    "invalid": {
        "en": "{field} is not valid: {reason}",
        "vi": "{field} không hợp lệ: {reason}",
        "zh": "{field} 无效：{reason}",
    },
    "wrong_type": {
        "en": "{field} must be {expected}",
        "vi": "{field} phải là {expected}",
        "zh": "{field} 必须是 {expected}",
    },
    "required": {"en": "{field} is required", "vi": "thiếu {field}", "zh": "缺少 {field}"},
    "user_id_required": {"en": "a user id is required", "vi": "thiếu user id", "zh": "缺少用户 ID"},
    "ambiguous_param": {
        "en": "{field} is given twice with different values",
        "vi": "{field} được gửi hai lần với giá trị khác nhau",
        "zh": "{field} 重复且取值不同",
    },
    "malformed": {"en": "malformed {what}", "vi": "{what} không đúng định dạng", "zh": "{what} 格式错误"},
    "unknown_method": {
        "en": "unknown method: {method}",
        "vi": "phương thức không tồn tại: {method}",
        "zh": "未知方法：{method}",
    },
    "unknown_route": {"en": "no such route: {path}", "vi": "không có đường dẫn: {path}", "zh": "路径不存在：{path}"},
    "wrong_verb": {
        "en": "{path} does not take {verb}",
        "vi": "{path} không nhận {verb}",
        "zh": "{path} 不支持 {verb}",
    },
    "unsupported_media_type": {
        "en": "send the body as application/json",
        "vi": "hãy gửi nội dung dạng application/json",
        "zh": "请以 application/json 发送请求体",
    },
    "connect_first": {
        "en": "first request must be 'connect'",
        "vi": "yêu cầu đầu tiên phải là 'connect'",
        "zh": "首个请求必须是 'connect'",
    },
    "unauthorized": {"en": "unauthorized", "vi": "không có quyền truy cập", "zh": "未授权"},
    "not_paired": {
        "en": "the pairing code is not valid any more",
        "vi": "mã ghép nối không còn hiệu lực",
        "zh": "配对码已失效",
    },
    "auth_blocked": {
        "en": "too many failed sign-ins; wait a minute",
        "vi": "đăng nhập sai quá nhiều; hãy chờ một phút",
        "zh": "登录失败次数过多，请稍候一分钟",
    },
    "role_too_low": {
        "en": "{action} requires {required} role",
        "vi": "{action} cần vai trò {required}",
        "zh": "{action} 需要 {required} 角色",
    },
    "permission_denied": {
        "en": "permission denied: {reason}",
        "vi": "từ chối quyền: {reason}",
        "zh": "权限不足：{reason}",
    },
    "hook_commands_off": {
        "en": "hooks that run commands are off here; it takes {needs}",
        "vi": "hook chạy lệnh đang tắt; cần {needs}",
        "zh": "此处未启用运行命令的钩子；需要 {needs}",
    },
    "approval_gone": {
        "en": 'approval "{id}" not found or already resolved',
        "vi": 'không tìm thấy yêu cầu phê duyệt "{id}" hoặc đã được xử lý',
        "zh": "未找到审批 “{id}” 或已处理",
    },
    "approvals_off": {
        "en": "exec approval is not enabled",
        "vi": "chưa bật phê duyệt lệnh",
        "zh": "未启用命令审批",
    },
    "command_denied": {
        "en": "the command is refused by safety group {group}",
        "vi": "lệnh bị nhóm an toàn {group} từ chối",
        "zh": "命令被安全组 {group} 拒绝",
    },
    "not_found": {"en": "{kind} not found: {id}", "vi": "không tìm thấy {kind}: {id}", "zh": "未找到 {kind}：{id}"},
    "already_exists": {
        "en": "{kind} already exists: {id}",
        "vi": "{kind} đã tồn tại: {id}",
        "zh": "{kind} 已存在：{id}",
    },
    "provider_in_use": {
        "en": "{id} is used by agents: {agents}",
        "vi": "{id} đang được các tác nhân dùng: {agents}",
        "zh": "{id} 正被智能体使用：{agents}",
    },
    "gone": {"en": "{kind} has ended: {id}", "vi": "{kind} đã kết thúc: {id}", "zh": "{kind} 已结束：{id}"},
    "failed_precondition": {
        "en": "not possible now: {reason}",
        "vi": "hiện không thể: {reason}",
        "zh": "当前无法执行：{reason}",
    },
    "resource_exhausted": {
        "en": "limit reached: {reason}; try again later",
        "vi": "đã đạt giới hạn: {reason}; hãy thử lại sau",
        "zh": "已达上限：{reason}，请稍后再试",
    },
    "budget_exceeded": {
        "en": "the {purse[window]} budget of the {purse[scope]} is used up ({spent} of {limit} {purse[unit]})",
        "vi": "ngân sách {purse[window]} của {purse[scope]} đã hết ({spent} trên {limit} {purse[unit]})",
        "zh": "{purse[scope]} 的 {purse[window]} 预算已用完（{spent} / {limit} {purse[unit]}）",
    },
    "monthly_budget_exceeded": {
        "en": "monthly budget exceeded (${spent:.2f} / ${limit:.2f})",
        "vi": "đã vượt ngân sách tháng (${spent:.2f} / ${limit:.2f})",
        "zh": "已超出月度预算（${spent:.2f} / ${limit:.2f}）",
    },
    "budget_of_others": {
        "en": "the budget of the {purse[scope]} is used up",
        "vi": "ngân sách của {purse[scope]} đã hết",
        "zh": "{purse[scope]} 的预算已用完",
    },
    "budget_unpriced": {
        "en": "nobody knows the price of {provider}/{model}, and budgets refuse what has none",
        "vi": "không rõ giá của {provider}/{model} nên ngân sách từ chối",
        "zh": "{provider}/{model} 没有已知价格，预算策略拒绝调用",
    },
    "quota_exceeded": {
        "en": "Quota exceeded: {used}/{limit} requests this {window}. Try again later.",
        "vi": "Vượt hạn mức: {used}/{limit} yêu cầu ({window}). Hãy thử lại sau.",
        "zh": "超出配额：{used}/{limit} 次请求（{window}）。请稍后再试。",
    },
    "payload_too_large": {
        "en": "larger than {limit_bytes} bytes",
        "vi": "lớn hơn {limit_bytes} byte",
        "zh": "超过 {limit_bytes} 字节",
    },
    "unavailable": {
        "en": "temporarily unavailable: {reason}",
        "vi": "tạm thời không sẵn sàng: {reason}",
        "zh": "暂时不可用：{reason}",
    },
    "agent_rests": {
        "en": "the agent does not answer: it is {status}",
        "vi": "tác tử không trả lời: trạng thái {status}",
        "zh": "智能体暂不应答：状态为 {status}",
    },
    "quarantined": {
        "en": "{path} rests after repeated crashes; try again later",
        "vi": "{path} tạm nghỉ sau nhiều lần lỗi; hãy thử lại sau",
        "zh": "{path} 多次崩溃后暂停，请稍后再试",
    },
    "cancelled": {"en": "cancelled", "vi": "đã hủy", "zh": "已取消"},
    "response_format_failed": {
        "en": "the model's answer does not fit response_format: {errors}",
        "vi": "câu trả lời của mô hình không khớp response_format: {errors}",
        "zh": "模型的回答不符合 response_format：{errors}",
    },
    "provider_failed": {
        "en": "the model provider failed: {message}",
        "vi": "nhà cung cấp mô hình gặp lỗi: {message}",
        "zh": "模型服务出错：{message}",
    },
    "provider_down": {
        "en": "the model provider is not answering now; try again later",
        "vi": "nhà cung cấp mô hình hiện không phản hồi; hãy thử lại sau",
        "zh": "模型服务暂时没有响应，请稍后再试",
    },
    "provider_rate_limited": {
        "en": "the model provider takes no more requests for the moment; try again later",
        "vi": "nhà cung cấp mô hình tạm thời không nhận thêm yêu cầu; hãy thử lại sau",
        "zh": "模型服务暂时限流，请稍后再试",
    },
    "provider_timeout": {
        "en": "the model provider did not answer in time; try again",
        "vi": "nhà cung cấp mô hình không trả lời kịp; hãy thử lại",
        "zh": "模型服务未能及时回答，请重试",
    },
    "provider_key_rejected": {
        "en": "the model provider rejected its key; an administrator has to look after it",
        "vi": "nhà cung cấp mô hình từ chối khóa; cần quản trị viên xử lý",
        "zh": "模型服务拒绝了密钥，请联系管理员",
    },
    "provider_billing": {
        "en": "the account at the model provider has no credit; an administrator has to look after it",
        "vi": "tài khoản tại nhà cung cấp mô hình đã hết tiền; cần quản trị viên xử lý",
        "zh": "模型服务账户余额不足，请联系管理员",
    },
    "provider_refused": {
        "en": "the model provider refused this content",
        "vi": "nhà cung cấp mô hình từ chối nội dung này",
        "zh": "模型服务拒绝了此内容",
    },
    "provider_too_long": {
        "en": "the conversation is too long for the model; start a new one or compact it",
        "vi": "cuộc trò chuyện quá dài với mô hình; hãy bắt đầu cuộc mới hoặc nén lại",
        "zh": "对话超出模型的长度上限，请新建对话或压缩",
    },
    "agent_timeout": {
        "en": "no answer within {seconds} s",
        "vi": "không có câu trả lời trong {seconds} giây",
        "zh": "{seconds} 秒内没有回答",
    },
    "internal": {"en": "internal error", "vi": "lỗi nội bộ", "zh": "内部错误"},
}


class _Blank(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def in_locale(texts: Mapping[Locale, str], locale: str) -> str:
    """That of them in `locale`; English for a language we do not speak."""
    return next((text for known, text in texts.items() if known == locale), texts["en"])


def text_of(err: Err, locale: str) -> str:
    """The sentence for `err` in `locale`."""
    return in_locale(TEXTS[err.key], locale).format_map(_Blank(err.details))


def locale_of(accept_language: str) -> Locale:
    """The best of our languages for an `Accept-Language` header; garbage means English."""
    best, weight = LOCALES[0], 0.0
    for part in accept_language.split(",", 20)[:20]:
        if wish := WISH.fullmatch(part.strip()):
            quality = float(wish["quality"] or 1)
            for locale in LOCALES:
                if locale == wish["language"].lower() and quality > weight:
                    best, weight = locale, quality
    return best
