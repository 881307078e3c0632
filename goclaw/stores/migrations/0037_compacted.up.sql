-- What a provider made of a conversation, for its own models; the summary is for all others (agent-loop.md §13.4).
ALTER TABLE sessions ADD COLUMN compacted jsonb;
