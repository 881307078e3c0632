-- The markers of a journal, which tell what a session was, and the results that wait for their own slot.

CREATE INDEX session_messages_markers ON session_messages (session_id, seq) WHERE hidden;
