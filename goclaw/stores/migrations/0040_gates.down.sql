DROP INDEX exec_allow_rules_once;
DELETE FROM exec_allow_rules WHERE node_id IS NOT NULL;
ALTER TABLE exec_allow_rules
    DROP COLUMN node_id,
    ADD UNIQUE (tenant_id, agent_id, match_kind, pattern);

DROP INDEX exec_approvals_call;
DROP INDEX exec_approvals_code;
DROP INDEX exec_approvals_pending;
CREATE INDEX exec_approvals_pending ON exec_approvals (node_name) WHERE status = 'pending';
ALTER TABLE exec_approvals
    ALTER COLUMN name DROP DEFAULT,
    DROP COLUMN rule,
    DROP COLUMN exact,
    DROP COLUMN call_key,
    DROP COLUMN agent_key,
    DROP COLUMN node_id;
DROP SEQUENCE exec_approval_numbers;
