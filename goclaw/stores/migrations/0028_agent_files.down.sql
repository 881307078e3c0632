DROP TABLE agent_summonings, agent_config_permissions, user_agent_overrides, user_agent_profiles, user_context_files,
    agent_context_files, agent_shares;
