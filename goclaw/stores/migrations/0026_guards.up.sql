-- Who decided what and by which policy, in chains that show when they were touched; and what operators said to all nodes.

CREATE TABLE policy_versions (
    version   varchar(64) PRIMARY KEY,
    content   jsonb NOT NULL,
    source    text NOT NULL,
    loaded_by varchar(255),
    loaded_at timestamptz NOT NULL DEFAULT now()
);

-- No foreign keys: what happened outlives whom it happened to.
CREATE TABLE audit_log (
    chain          varchar(100) NOT NULL,
    seq            bigint NOT NULL,
    tenant_id      uuid,
    at             timestamptz NOT NULL DEFAULT now(),
    actor_type     varchar(20) NOT NULL,
    actor_id       varchar(255) NOT NULL,
    action         varchar(60) NOT NULL,
    decision       varchar(12) NOT NULL CHECK (decision IN ('allow', 'deny', 'info', 'error')),
    subject        text NOT NULL DEFAULT '',
    reason         text NOT NULL DEFAULT '',
    policy_version varchar(64),
    trace_id       uuid,
    run_id         uuid,
    ip_address     varchar(45),
    details        jsonb NOT NULL DEFAULT '{}',
    prev_hash      char(64) NOT NULL,
    hash           char(64) NOT NULL,
    PRIMARY KEY (chain, seq)
);

CREATE INDEX audit_log_recent ON audit_log (tenant_id, at DESC);
CREATE INDEX audit_log_action ON audit_log (action, at DESC);
CREATE INDEX audit_log_run ON audit_log (run_id) WHERE run_id IS NOT NULL;

-- Lines are added, and forgotten by retention, which says so in its transaction; nobody changes one.
CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('goclaw.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'lines of the audit stay as they are';
END $$;

CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit();

CREATE TABLE operator_state (
    name       varchar(40) PRIMARY KEY,
    value      jsonb NOT NULL DEFAULT '{}',
    version    integer NOT NULL DEFAULT 1,
    set_by     varchar(255),
    updated_at timestamptz NOT NULL DEFAULT now()
);
