DROP TRIGGER subagent_again ON runs;
DROP TRIGGER subagent_moved ON runs;
DROP FUNCTION subagent_again();
DROP FUNCTION subagent_moved();
DROP INDEX announcements_open;
DROP TABLE subagent_tasks;
