DROP INDEX runs_group;
DROP TRIGGER runs_free_keys ON runs;
DROP FUNCTION free_resource_keys();
ALTER TABLE runs DROP COLUMN keys_inferred;
DROP TABLE lock_waits;
DROP TABLE resource_locks;
