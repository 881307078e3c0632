DROP TABLE custom_tools, builtin_tool_tenant_configs, builtin_tools;
