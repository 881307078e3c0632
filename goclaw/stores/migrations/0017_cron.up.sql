-- Work that nobody has to ask for: scheduled jobs and the heartbeats of agents, and what became of them.

CREATE TABLE cron_jobs (
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id           uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    user_id            varchar(255) NOT NULL,
    name               varchar(100) NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]*$'),
    enabled            boolean NOT NULL DEFAULT true,
    schedule_kind      varchar(8) NOT NULL CHECK (schedule_kind IN ('at', 'every', 'cron')),
    cron_expression    varchar(120),
    interval_ms        bigint,
    run_at             timestamptz,
    timezone           varchar(64) NOT NULL DEFAULT '',
    stagger_ms         integer NOT NULL DEFAULT 0,
    payload            jsonb NOT NULL DEFAULT '{}',
    model              varchar(200),
    timeout_sec        integer,
    delete_after_run   boolean NOT NULL DEFAULT false,
    stateless          boolean NOT NULL DEFAULT false,
    deliver            boolean NOT NULL DEFAULT false,
    deliver_channel    varchar(100),
    deliver_to         varchar(255),
    wake_heartbeat     boolean NOT NULL DEFAULT false,
    team_id            uuid,
    next_run_at        timestamptz,
    last_run_at        timestamptz,
    last_status        varchar(20),
    last_error         text,
    consecutive_errors integer NOT NULL DEFAULT 0,
    run_count          bigint NOT NULL DEFAULT 0,
    -- the tick in work: its run, or when the next try of it is due
    active_run_id      uuid,
    scheduled_at       timestamptz,
    trigger            varchar(12) NOT NULL DEFAULT 'tick',
    attempt            integer NOT NULL DEFAULT 0,
    retry_at           timestamptz,
    version            integer NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, agent_id, name),
    CHECK ((schedule_kind = 'at' AND run_at IS NOT NULL) OR (schedule_kind = 'every' AND interval_ms >= 1000)
           OR (schedule_kind = 'cron' AND cron_expression IS NOT NULL))
);

CREATE INDEX cron_jobs_due ON cron_jobs (next_run_at) WHERE enabled AND next_run_at IS NOT NULL;
CREATE INDEX cron_jobs_retry ON cron_jobs (retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX cron_jobs_active ON cron_jobs (active_run_id) WHERE active_run_id IS NOT NULL;
CREATE INDEX cron_jobs_user ON cron_jobs (tenant_id, user_id);
CREATE INDEX cron_jobs_agent ON cron_jobs (agent_id);

CREATE TABLE cron_run_logs (
    id             uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    job_id         uuid NOT NULL REFERENCES cron_jobs (id) ON DELETE CASCADE,
    run_id         uuid,
    agent_id       uuid,
    team_id        uuid,
    scheduled_at   timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    status         varchar(20) NOT NULL CHECK (status IN ('running', 'ok', 'error', 'skipped')),
    attempt        integer NOT NULL DEFAULT 1,
    trigger        varchar(12) NOT NULL DEFAULT 'tick',
    error          text,
    output_preview varchar(500),
    input_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens  bigint NOT NULL DEFAULT 0,
    cost           numeric(18, 8) NOT NULL DEFAULT 0,
    duration_ms    integer,
    delivery       varchar(20),
    delivery_error text,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX cron_run_logs_job ON cron_run_logs (job_id, scheduled_at DESC);
CREATE INDEX cron_run_logs_recent ON cron_run_logs (tenant_id, created_at DESC);
CREATE INDEX cron_run_logs_run ON cron_run_logs (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE agent_heartbeats (
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id           uuid NOT NULL UNIQUE REFERENCES agents (id) ON DELETE CASCADE,
    enabled            boolean NOT NULL DEFAULT false,
    interval_sec       integer NOT NULL DEFAULT 1800 CHECK (interval_sec >= 300),
    prompt             text,
    provider           varchar(50),
    model              varchar(200),
    isolated_session   boolean NOT NULL DEFAULT true,
    light_context      boolean NOT NULL DEFAULT false,
    ack_max_chars      integer NOT NULL DEFAULT 300,
    max_retries        integer NOT NULL DEFAULT 2,
    active_hours_start varchar(5),
    active_hours_end   varchar(5),
    timezone           text,
    channel            varchar(100),
    chat_id            text,
    next_run_at        timestamptz,
    last_run_at        timestamptz,
    last_status        varchar(20),
    last_error         text,
    run_count          integer NOT NULL DEFAULT 0,
    suppress_count     integer NOT NULL DEFAULT 0,
    active_run_id      uuid,
    metadata           jsonb NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX agent_heartbeats_due ON agent_heartbeats (next_run_at) WHERE enabled AND next_run_at IS NOT NULL;
CREATE INDEX agent_heartbeats_active ON agent_heartbeats (active_run_id) WHERE active_run_id IS NOT NULL;
CREATE INDEX agent_heartbeats_tenant ON agent_heartbeats (tenant_id);

CREATE TABLE heartbeat_run_logs (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    heartbeat_id  uuid NOT NULL REFERENCES agent_heartbeats (id) ON DELETE CASCADE,
    agent_id      uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    run_id        uuid,
    status        varchar(20) NOT NULL CHECK (status IN ('ok', 'suppressed', 'error', 'skipped')),
    skip_reason   varchar(50),
    summary       text,
    content_hash  char(64),
    error         text,
    duration_ms   integer,
    input_tokens  bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    metadata      jsonb NOT NULL DEFAULT '{}',
    ran_at        timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX heartbeat_run_logs_heartbeat ON heartbeat_run_logs (heartbeat_id, ran_at DESC);
CREATE INDEX heartbeat_run_logs_agent ON heartbeat_run_logs (agent_id, ran_at DESC);
CREATE INDEX heartbeat_run_logs_tenant ON heartbeat_run_logs (tenant_id);
