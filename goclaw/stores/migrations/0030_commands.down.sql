DROP TABLE background_processes, exec_allow_rules, exec_approvals;
