-- Which of the built-in tools are in use and how they are set, and tools that operators made of commands.

CREATE TABLE builtin_tools (
    name         varchar(100) PRIMARY KEY,
    display_name varchar(255) NOT NULL,
    description  text NOT NULL DEFAULT '',
    category     varchar(50) NOT NULL DEFAULT 'general',
    enabled      boolean NOT NULL DEFAULT true,
    settings     jsonb NOT NULL DEFAULT '{}',
    requires     text[] NOT NULL DEFAULT '{}',
    position     integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE builtin_tool_tenant_configs (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    tool_name  varchar(100) NOT NULL,
    enabled    boolean, -- NULL: as for everybody
    settings   jsonb,   -- NULL: as for everybody
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, tool_name)
);

CREATE TABLE custom_tools (
    id                  uuid PRIMARY KEY,
    tenant_id           uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name                varchar(100) NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,99}$'),
    description         text NOT NULL DEFAULT '',
    parameters          jsonb NOT NULL DEFAULT '{}',
    command             text NOT NULL,
    working_dir         text,
    timeout_seconds     integer NOT NULL DEFAULT 60 CHECK (timeout_seconds BETWEEN 1 AND 3600),
    env                 bytea, -- sealed: bound to this table, column and row
    env_keys            text[] NOT NULL DEFAULT '{}',
    agent_id            uuid REFERENCES agents (id) ON DELETE CASCADE,
    enabled             boolean NOT NULL DEFAULT true,
    effect_class        varchar(12) NOT NULL DEFAULT 'unsafe',
    acknowledged_groups text[] NOT NULL DEFAULT '{}', -- of the deny engine, which the command may touch
    metadata            jsonb NOT NULL DEFAULT '{}',
    created_by          varchar(255),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX custom_tools_of_all ON custom_tools (tenant_id, name) WHERE agent_id IS NULL;
CREATE UNIQUE INDEX custom_tools_of_agent ON custom_tools (agent_id, name) WHERE agent_id IS NOT NULL;
CREATE INDEX custom_tools_tenant ON custom_tools (tenant_id);
CREATE INDEX custom_tools_agent ON custom_tools (agent_id);
