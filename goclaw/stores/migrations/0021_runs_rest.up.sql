-- Calls with effects belong to the log of steps they were made in: a try that forgets its steps begins another.

ALTER TABLE runs ADD COLUMN log smallint NOT NULL DEFAULT 0;
ALTER TABLE tool_effects ADD COLUMN log smallint NOT NULL DEFAULT 0;
ALTER TABLE tool_effects ADD COLUMN adopts varchar(120);

CREATE INDEX runs_requeued_from ON runs (requeued_from) WHERE requeued_from IS NOT NULL;
