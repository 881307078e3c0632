"""Names for many tools at once. Contract: tools.md §5, §6.

A group lists what it will hold when all of it is built; only tools that exist count.
"""

from __future__ import annotations

GROUPS = {
    name: frozenset(members.split())
    for name, members in {
        "fs": "read_file write_file edit_file list_files search glob repo_map send_file",
        "runtime": "exec process wait skill_exec system_info",
        "web": "web_search web_fetch",
        "memory": "memory_search memory_get memory_expand memory_write remember_fact forget_fact",
        "knowledge": "knowledge_graph_search vault_search vault_read",
        "vault": "vault_search vault_read",
        "sessions": "sessions_list sessions_history sessions_send spawn subagents session_status",
        "ui": "browser canvas",
        "automation": "cron gateway datetime heartbeat remind checkpoint_now set_loop_status parallel",
        "messaging": "message send_alert create_forum_topic list_group_members",
        "delegation": "delegate delegate_search evaluate_loop handoff delegate_task delegate_task_async",
        "teams": "team_tasks team_message",
        "pipelines": "pipeline_create pipeline_status pipeline_ready pipeline_state_set pipeline_dispatch "
        "pipeline_cancel",
        "nodes": "nodes",
        "autonomy": "autonomy autolearn run_status run_wait",
        "media_gen": "create_image create_video create_audio tts image",
        "media_read": "read_image read_audio read_video read_document stt",
        "skills": "skill_search use_skill publish_skill skill_manage mcp_tool_search",
    }.items()
}
OTHER_NAMES = {"orchestration": "delegation", "team": "teams"}  # of groups

PROFILES: dict[str, frozenset[str]] = {
    "coding": frozenset({"datetime"}).union(
        *(
            GROUPS[name]
            for name in (
                "fs",
                "runtime",
                "sessions",
                "memory",
                "web",
                "knowledge",
                "media_gen",
                "media_read",
                "skills",
            )
        )
    ),
    "messaging": frozenset(
        ["sessions_list", "sessions_history", "sessions_send", "session_status", "skill_search", "datetime"]
    ).union(*(GROUPS[name] for name in ("messaging", "web", "media_read"))),
    "minimal": frozenset({"session_status"}),
}
FULL = "full"  # the profile that leaves nothing out

PRESETS = {"send_message": {"action": "send"}, "read_messages": {"action": "read"}}  # arguments an alias brings

SUBAGENTS_NEVER = {
    "autonomy",
    "autolearn",
    "gateway",
    "agents_list",
    "whatsapp_login",
    "session_status",
    "cron",
    "memory_search",
    "memory_get",
    "sessions_send",
    "team_tasks",
    "team_message",
    "handoff",
}  # tools.md §4
LEAVES_NEVER = {
    "sessions_list",
    "sessions_history",
    "spawn",
    "subagents",
    "delegate",
    "delegate_task",
    "delegate_task_async",
}  # subagents that may have none of their own
