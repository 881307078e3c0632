-- The markers of a journal, which tell what a session was, and the results that wait for their own slot.

CREATE INDEX session_messages_markers ON session_messages (session_id, seq) WHERE hidden;

CREATE INDEX runs_announces ON runs (tenant_id, session_key)
    WHERE kind = 'announce' AND state IN ('QUEUED', 'RETRY_WAIT', 'CLAIMED', 'RUNNING');
