DROP TABLE heartbeat_run_logs, agent_heartbeats, cron_run_logs, cron_jobs;
