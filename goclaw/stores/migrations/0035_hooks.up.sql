-- Hooks: what people put before and behind the steps of runs, and what each of them decided.

CREATE TABLE hooks (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    scope        varchar(8) NOT NULL CHECK (scope IN ('global', 'tenant', 'agent')),
    event        varchar(32) NOT NULL,
    handler_type varchar(16) NOT NULL CHECK (handler_type IN ('command', 'http', 'prompt', 'script')),
    name         varchar(255) NOT NULL DEFAULT '',
    config       jsonb NOT NULL DEFAULT '{}',
    -- sealed: what a command has in its environment, or a request in its headers
    secrets      bytea,
    script       text,
    builtin      text,
    matcher      varchar(500),
    if_expr      text,
    timeout_ms   integer NOT NULL DEFAULT 5000 CHECK (timeout_ms BETWEEN 1 AND 10000),
    on_timeout   varchar(8) NOT NULL DEFAULT 'block' CHECK (on_timeout IN ('block', 'allow')),
    priority     integer NOT NULL DEFAULT 0,
    enabled      boolean NOT NULL DEFAULT true,
    version      integer NOT NULL DEFAULT 1,
    source       varchar(16) NOT NULL DEFAULT 'ui' CHECK (source IN ('ui', 'api', 'seed', 'builtin')),
    metadata     jsonb NOT NULL DEFAULT '{}',
    created_by   varchar(255) NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX hooks_event ON hooks (tenant_id, event) WHERE enabled;
CREATE INDEX hooks_tenant ON hooks (tenant_id, priority DESC, id);

CREATE TABLE hook_agents (
    hook_id  uuid NOT NULL REFERENCES hooks (id) ON DELETE CASCADE,
    agent_id uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    PRIMARY KEY (hook_id, agent_id)
);

CREATE INDEX hook_agents_agent ON hook_agents (agent_id);

CREATE TABLE hook_executions (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hook_id      uuid REFERENCES hooks (id) ON DELETE SET NULL,
    session_key  varchar(500),
    run_id       uuid,
    event        varchar(32) NOT NULL,
    input_hash   char(64),
    decision     varchar(16) NOT NULL CHECK (decision IN ('allow', 'block', 'error', 'timeout')),
    duration_ms  integer NOT NULL DEFAULT 0,
    retry        integer NOT NULL DEFAULT 0,
    dedup_key    varchar(128),
    error        varchar(256),
    -- sealed
    error_detail bytea,
    metadata     jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX hook_executions_once ON hook_executions (dedup_key) WHERE dedup_key IS NOT NULL;
CREATE INDEX hook_executions_session ON hook_executions (session_key, created_at);
CREATE INDEX hook_executions_hook ON hook_executions (hook_id, created_at DESC);
CREATE INDEX hook_executions_tenant ON hook_executions (tenant_id, created_at DESC);
