-- Conversations: one row each, their history as append-only rows with a gapless seq.

CREATE TABLE sessions (
    id                            uuid PRIMARY KEY,
    tenant_id                     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    session_key                   varchar(500) NOT NULL,
    agent_id                      uuid REFERENCES agents (id) ON DELETE SET NULL,
    agent_key                     varchar(100) NOT NULL,
    user_id                       varchar(255) NOT NULL,
    kind                          varchar(20) NOT NULL DEFAULT 'direct',
    channel                       varchar(100),
    chat_id                       varchar(255),
    peer_kind                     varchar(10),
    team_id                       uuid,
    label                         varchar(500),
    summary                       text,
    model                         varchar(200),
    provider                      varchar(50),
    input_tokens                  bigint NOT NULL DEFAULT 0,
    output_tokens                 bigint NOT NULL DEFAULT 0,
    total_cost                    numeric(18, 8) NOT NULL DEFAULT 0,
    compaction_count              integer NOT NULL DEFAULT 0,
    memory_flush_compaction_count integer NOT NULL DEFAULT 0,
    context_window                integer,
    last_prompt_tokens            integer,
    last_message_count            integer,
    message_count                 integer NOT NULL DEFAULT 0,
    last_seq                      bigint NOT NULL DEFAULT 0,
    spawned_by                    varchar(500),
    spawn_depth                   integer NOT NULL DEFAULT 0,
    queue_config                  jsonb,
    generation                    integer NOT NULL DEFAULT 0,
    stale_before                  timestamptz,
    metadata                      jsonb NOT NULL DEFAULT '{}',
    last_active_at                timestamptz NOT NULL DEFAULT now(),
    archived_at                   timestamptz,
    created_at                    timestamptz NOT NULL DEFAULT now(),
    updated_at                    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, session_key)
);

CREATE INDEX sessions_user ON sessions (tenant_id, user_id, updated_at DESC);
CREATE INDEX sessions_agent ON sessions (agent_id, updated_at DESC);
CREATE INDEX sessions_recent ON sessions (tenant_id, updated_at DESC);
CREATE INDEX sessions_team ON sessions (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX sessions_spawned ON sessions (tenant_id, spawned_by) WHERE spawned_by IS NOT NULL;
CREATE INDEX sessions_metadata ON sessions USING gin (metadata);

CREATE TABLE session_messages (
    session_id     uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq            bigint NOT NULL,
    tenant_id      uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id             uuid NOT NULL UNIQUE,
    role           varchar(12) NOT NULL CHECK (role IN ('user', 'assistant', 'tool', 'system')),
    content        text NOT NULL DEFAULT '',
    payload        jsonb NOT NULL DEFAULT '{}',
    run_id         uuid,
    generation     integer NOT NULL DEFAULT 0,
    token_estimate integer NOT NULL DEFAULT 0,
    hidden         boolean NOT NULL DEFAULT false,
    archived_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, seq)
);

CREATE INDEX session_messages_live ON session_messages (session_id, seq) WHERE archived_at IS NULL;
CREATE INDEX session_messages_recent ON session_messages (tenant_id, created_at);
CREATE INDEX session_messages_run ON session_messages (run_id);
