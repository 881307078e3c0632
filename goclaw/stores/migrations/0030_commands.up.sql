-- Commands of agents: what was asked about, what need not be asked again, what runs in the background.

CREATE TABLE exec_approvals (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- of the gateway that asks; who waits for the answer lives there
    node_name   varchar(255) NOT NULL,
    -- as clients know it, and as it is typed into a chat
    name        varchar(32) NOT NULL,
    code        varchar(20) NOT NULL,
    kind        varchar(20) NOT NULL DEFAULT 'exec',
    run_id      uuid,
    session_key varchar(500) NOT NULL,
    agent_id    uuid,
    user_id     varchar(255) NOT NULL,
    tool_name   varchar(150) NOT NULL,
    command     text, -- as it was shown
    detail      jsonb NOT NULL DEFAULT '{}',
    status      varchar(16) NOT NULL DEFAULT 'pending'
                CHECK (status IN ('pending', 'allow_once', 'allow_always', 'deny', 'timeout', 'orphaned')),
    expires_at  timestamptz NOT NULL,
    resolved_by varchar(255),
    resolved_at timestamptz,
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX exec_approvals_pending ON exec_approvals (node_name) WHERE status = 'pending';
CREATE INDEX exec_approvals_recent ON exec_approvals (tenant_id, status, created_at);

CREATE TABLE exec_allow_rules (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id    uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    pattern     text NOT NULL,
    match_kind  varchar(10) NOT NULL CHECK (match_kind IN ('basename', 'exact_hash')),
    created_by  varchar(255) NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, agent_id, match_kind, pattern)
);

CREATE INDEX exec_allow_rules_agent ON exec_allow_rules (agent_id);

CREATE TABLE background_processes (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    node_name   varchar(255) NOT NULL,
    agent_id    uuid,
    user_id     varchar(255) NOT NULL,
    session_key varchar(500) NOT NULL,
    command     text NOT NULL, -- as it is shown
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    exit_code   integer,
    bytes       bigint NOT NULL DEFAULT 0,
    -- its gateway went away under it
    lost        boolean NOT NULL DEFAULT false
);

CREATE INDEX background_processes_open ON background_processes (node_name) WHERE ended_at IS NULL;
CREATE INDEX background_processes_whose ON background_processes (tenant_id, session_key, number);
