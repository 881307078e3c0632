ALTER TABLE sessions DROP COLUMN compacted;
