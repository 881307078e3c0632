-- Approvals outlive the process that asked and are answered at any node; so do the rules of a process.

CREATE SEQUENCE exec_approval_numbers;

-- nobody waits any more for what an older version asked
UPDATE exec_approvals SET status = 'orphaned', resolved_at = now() WHERE status = 'pending';

ALTER TABLE exec_approvals
    ALTER COLUMN name SET DEFAULT 'exec-' || nextval('exec_approval_numbers'),
    -- the process in which somebody waits for the answer, if it still lives
    ADD COLUMN node_id   uuid,
    ADD COLUMN agent_key varchar(100) NOT NULL DEFAULT '',
    -- the one call this is about, the same in every life of its run; none: it ends with its process
    ADD COLUMN call_key  varchar(200),
    -- of exactly this command in its directory, and the program a rule would let through
    ADD COLUMN exact     varchar(64) NOT NULL DEFAULT '',
    ADD COLUMN rule      text NOT NULL DEFAULT '';

DROP INDEX exec_approvals_pending;
CREATE INDEX exec_approvals_pending ON exec_approvals (tenant_id, created_at) WHERE status = 'pending';
CREATE UNIQUE INDEX exec_approvals_code ON exec_approvals (code) WHERE status = 'pending';
CREATE UNIQUE INDEX exec_approvals_call ON exec_approvals (call_key);

-- rules that end with a process
ALTER TABLE exec_allow_rules
    ADD COLUMN node_id uuid,
    DROP CONSTRAINT exec_allow_rules_tenant_id_agent_id_match_kind_pattern_key;
CREATE UNIQUE INDEX exec_allow_rules_once ON exec_allow_rules
    (tenant_id, agent_id, match_kind, pattern, coalesce(node_id, '00000000-0000-0000-0000-000000000000'));
