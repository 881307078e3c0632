DROP TABLE actor_restart_log;
DROP TABLE activity_logs;
