-- Durable runs: the queue, its heads (the only lock of a claim), the steps and the append-only log.

CREATE TABLE runs (
    run_id            uuid PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    session_key       varchar(500) NOT NULL,
    shard             smallint NOT NULL,
    agent_id          uuid,
    agent_key         varchar(100) NOT NULL,
    user_id           varchar(255) NOT NULL,
    sender_id         varchar(255),
    kind              varchar(20) NOT NULL CHECK (kind IN (
                          'chat', 'channel', 'http', 'wake', 'task', 'announce', 'delegation', 'subagent', 'team_task',
                          'evaluate', 'pipeline', 'cron', 'heartbeat', 'autonomy', 'autolearn', 'selfcheck', 'summary',
                          'flush', 'replay')),
    lane              varchar(20) NOT NULL,
    state             varchar(12) NOT NULL DEFAULT 'QUEUED' CHECK (state IN (
                          'QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT', 'SUCCEEDED', 'FAILED', 'CANCELED',
                          'DEAD_LETTER')),
    priority          integer NOT NULL DEFAULT 5,
    attempt           integer NOT NULL DEFAULT 0,
    max_attempts      integer NOT NULL DEFAULT 3,
    crash_count       integer NOT NULL DEFAULT 0,
    available_at      timestamptz NOT NULL DEFAULT now(),
    deadline          timestamptz,
    lease_owner       uuid,
    lease_expires_at  timestamptz,
    fence             bigint NOT NULL DEFAULT 0,
    cancel_requested  jsonb,
    parent_run_id     uuid,
    root_run_id       uuid,
    hop               integer NOT NULL DEFAULT 0,
    lineage           text[] NOT NULL DEFAULT '{}',
    generation        integer NOT NULL DEFAULT 0,
    request           jsonb NOT NULL DEFAULT '{}',
    request_hash      char(64),
    request_blob      text,
    result            jsonb,
    reason_code       varchar(40),
    last_error        text,
    fingerprint       char(64),
    fingerprint_count integer NOT NULL DEFAULT 0,
    policy_version    varchar(64),
    resource_keys     text[] NOT NULL DEFAULT '{}',
    wait_reason       varchar(20),
    ingress_key       varchar(300),
    merged_into       uuid,
    requeued_from     uuid,
    discarded         boolean NOT NULL DEFAULT false,
    trace_id          uuid,
    created_at        timestamptz NOT NULL DEFAULT now(),
    claimed_at        timestamptz,
    started_at        timestamptz,
    finished_at       timestamptz,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX runs_ingress ON runs (tenant_id, ingress_key) WHERE ingress_key IS NOT NULL;
CREATE INDEX runs_due ON runs (shard, lane, available_at) WHERE state IN ('QUEUED', 'RETRY_WAIT');
CREATE INDEX runs_lease ON runs (lease_expires_at) WHERE state IN ('CLAIMED', 'RUNNING');
CREATE INDEX runs_owner ON runs (lease_owner) WHERE state IN ('CLAIMED', 'RUNNING');
CREATE INDEX runs_waiting ON runs (tenant_id, session_key, run_id) WHERE state = 'QUEUED';
CREATE INDEX runs_session ON runs (tenant_id, session_key, created_at DESC);
CREATE INDEX runs_state ON runs (tenant_id, state, created_at DESC);
CREATE INDEX runs_user ON runs (tenant_id, user_id, created_at DESC) WHERE parent_run_id IS NULL;
CREATE INDEX runs_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX runs_finished ON runs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE run_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT now(),
    run_id      uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    session_key varchar(500) NOT NULL,
    session_seq bigint NOT NULL,
    type        varchar(40) NOT NULL,
    state_from  varchar(12),
    state_to    varchar(12),
    attempt     integer NOT NULL DEFAULT 0,
    fence       bigint NOT NULL DEFAULT 0,
    node_id     uuid,
    actor       varchar(255),
    reason_code varchar(40),
    payload     jsonb NOT NULL DEFAULT '{}',
    trace_id    uuid,
    prev_hash   char(64),
    hash        char(64),
    PRIMARY KEY (event_id, at)
) PARTITION BY RANGE (at);

-- weekly partitions are made ahead by maintenance; this one catches strays
CREATE TABLE run_events_default PARTITION OF run_events DEFAULT;

CREATE INDEX run_events_run ON run_events (run_id, event_id);
CREATE INDEX run_events_session ON run_events (tenant_id, session_key, session_seq);
CREATE INDEX run_events_recent ON run_events (tenant_id, at DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

-- retention drops whole partitions, which no trigger sees
CREATE TRIGGER run_events_append_only BEFORE UPDATE OR DELETE ON run_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE session_heads (
    tenant_id      uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    session_key    varchar(500) NOT NULL,
    shard          smallint NOT NULL,
    lane           varchar(20) NOT NULL,
    max_concurrent integer NOT NULL DEFAULT 1,
    running        integer NOT NULL DEFAULT 0,
    queued         integer NOT NULL DEFAULT 0,
    head_at        timestamptz,
    head_priority  integer NOT NULL DEFAULT 5,
    next_seq       bigint NOT NULL DEFAULT 1,
    mode           varchar(12) NOT NULL DEFAULT 'queue',
    fence          bigint NOT NULL DEFAULT 0,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, session_key),
    CHECK (running >= 0 AND queued >= 0)
);

CREATE INDEX session_heads_due ON session_heads (lane, shard, head_at) WHERE queued > 0;

CREATE TABLE run_steps (
    run_id    uuid NOT NULL,
    step_no   integer NOT NULL,
    tenant_id uuid NOT NULL,
    kind      varchar(8) NOT NULL CHECK (kind IN ('llm', 'tool', 'note', 'summary')),
    message   jsonb NOT NULL,
    usage     jsonb,
    fence     bigint NOT NULL DEFAULT 0,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, step_no)
);

CREATE INDEX run_steps_at ON run_steps (at);
