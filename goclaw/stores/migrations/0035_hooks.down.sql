DROP TABLE hook_executions, hook_agents, hooks;
