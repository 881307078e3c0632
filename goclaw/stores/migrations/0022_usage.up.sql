-- Every model call by itself, and what they come to by the hour.

-- kept with the step or the end of its run, so what was answered is what was counted; no reference to the run, which
-- is forgotten earlier
CREATE TABLE model_calls (
    run_id              uuid NOT NULL,
    fence               bigint NOT NULL,
    number              integer NOT NULL,
    tenant_id           uuid NOT NULL,
    agent_id            uuid,
    user_id             varchar(255) NOT NULL,
    session_key         varchar(500) NOT NULL,
    run_kind            varchar(20) NOT NULL,
    channel             varchar(100) NOT NULL DEFAULT '',
    provider            varchar(50) NOT NULL,
    model               varchar(200) NOT NULL,
    status              varchar(12) NOT NULL CHECK (status IN ('completed', 'error', 'cancelled')),
    error               varchar(40),
    finish_reason       varchar(40),
    input_tokens        bigint NOT NULL DEFAULT 0,
    output_tokens       bigint NOT NULL DEFAULT 0,
    cache_read_tokens   bigint NOT NULL DEFAULT 0,
    cache_create_tokens bigint NOT NULL DEFAULT 0,
    thinking_tokens     bigint NOT NULL DEFAULT 0,
    estimated           boolean NOT NULL DEFAULT false,
    -- NULL: nobody knows the price
    total_cost          numeric(18, 8),
    tool_calls          integer NOT NULL DEFAULT 0,
    start_time          timestamptz NOT NULL,
    duration_ms         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, fence, number)
);

CREATE INDEX model_calls_recent ON model_calls (tenant_id, start_time);
CREATE INDEX model_calls_at ON model_calls USING brin (start_time);

CREATE TABLE usage_snapshots (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id           uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bucket_hour         timestamptz NOT NULL,
    agent_id            uuid,
    provider            varchar(50) NOT NULL DEFAULT '',
    model               varchar(200) NOT NULL DEFAULT '',
    channel             varchar(100) NOT NULL DEFAULT '',
    input_tokens        bigint NOT NULL DEFAULT 0,
    output_tokens       bigint NOT NULL DEFAULT 0,
    cache_read_tokens   bigint NOT NULL DEFAULT 0,
    cache_create_tokens bigint NOT NULL DEFAULT 0,
    thinking_tokens     bigint NOT NULL DEFAULT 0,
    total_cost          numeric(18, 8) NOT NULL DEFAULT 0,
    unpriced_calls      integer NOT NULL DEFAULT 0,
    request_count       integer NOT NULL DEFAULT 0,
    llm_call_count      integer NOT NULL DEFAULT 0,
    tool_call_count     integer NOT NULL DEFAULT 0,
    error_count         integer NOT NULL DEFAULT 0,
    unique_users        integer NOT NULL DEFAULT 0,
    avg_duration_ms     integer NOT NULL DEFAULT 0,
    memory_docs         integer NOT NULL DEFAULT 0,
    memory_chunks       integer NOT NULL DEFAULT 0,
    kg_entities         integer NOT NULL DEFAULT 0,
    kg_relations        integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX usage_snapshots_bucket ON usage_snapshots
    (tenant_id, bucket_hour, coalesce(agent_id, '00000000-0000-0000-0000-000000000000'), provider, model, channel);
CREATE INDEX usage_snapshots_recent ON usage_snapshots (tenant_id, bucket_hour DESC);
CREATE INDEX usage_snapshots_agent ON usage_snapshots (agent_id, bucket_hour DESC);
CREATE INDEX usage_snapshots_provider ON usage_snapshots (tenant_id, provider, bucket_hour DESC) WHERE provider <> '';
CREATE INDEX usage_snapshots_channel ON usage_snapshots (tenant_id, channel, bucket_hour DESC) WHERE channel <> '';
CREATE INDEX usage_snapshots_hour ON usage_snapshots (bucket_hour);
