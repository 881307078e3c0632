-- What makes an agent its own: its files, each user's files, who may use it, and what is different for whom.

CREATE TABLE agent_shares (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id   uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    user_id    varchar(255) NOT NULL,
    role       varchar(20) NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'viewer', 'operator', 'admin')),
    granted_by varchar(255),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (agent_id, user_id)
);

CREATE INDEX agent_shares_user ON agent_shares (tenant_id, user_id);

CREATE TABLE agent_context_files (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id     uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    file_name    varchar(255) NOT NULL,
    content      text NOT NULL,
    content_hash char(64) NOT NULL,
    updated_by   varchar(255),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (agent_id, file_name)
);

CREATE INDEX agent_context_files_tenant ON agent_context_files (tenant_id);

CREATE TABLE user_context_files (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id     uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    user_id      varchar(255) NOT NULL,
    file_name    varchar(255) NOT NULL,
    content      text NOT NULL,
    content_hash char(64) NOT NULL,
    updated_by   varchar(255),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (agent_id, user_id, file_name)
);

CREATE INDEX user_context_files_tenant ON user_context_files (tenant_id);

-- who has talked to an agent
CREATE TABLE user_agent_profiles (
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id      uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    user_id       varchar(255) NOT NULL,
    workspace     text,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    metadata      jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, user_id)
);

CREATE INDEX user_agent_profiles_user ON user_agent_profiles (tenant_id, user_id);

CREATE TABLE user_agent_overrides (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id   uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    user_id    varchar(255) NOT NULL,
    provider   varchar(50),
    model      varchar(200),
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (agent_id, user_id)
);

CREATE INDEX user_agent_overrides_tenant ON user_agent_overrides (tenant_id);

CREATE TABLE agent_config_permissions (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id    uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    scope       varchar(255) NOT NULL,
    config_type varchar(50) NOT NULL,
    user_id     varchar(255) NOT NULL,
    permission  varchar(10) NOT NULL CHECK (permission IN ('allow', 'deny')),
    granted_by  varchar(255),
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (agent_id, scope, config_type, user_id)
);

CREATE INDEX agent_config_permissions_tenant ON agent_config_permissions (tenant_id);

-- The last time an agent's files were written from a description. While the agent is `summoning`, this is the work.
CREATE TABLE agent_summonings (
    agent_id     uuid PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- what is wanted of files that are there already; NULL: they are written anew
    wish         text,
    requested_by varchar(255) NOT NULL,
    -- who works on it, until when if nothing is heard of him, and how often somebody began
    fence        bigint NOT NULL DEFAULT 0,
    leased_until timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX agent_summonings_tenant ON agent_summonings (tenant_id);
