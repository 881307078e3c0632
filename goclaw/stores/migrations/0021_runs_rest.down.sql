DROP INDEX runs_requeued_from;
ALTER TABLE tool_effects DROP COLUMN adopts;
ALTER TABLE tool_effects DROP COLUMN log;
ALTER TABLE runs DROP COLUMN log;
