-- Agents. Full-text and vector columns come with the search migrations.

CREATE TABLE agents (
    id                    uuid PRIMARY KEY,
    tenant_id             uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_key             varchar(100) NOT NULL CHECK (agent_key ~ '^[a-z0-9][a-z0-9-]{0,99}$'),
    display_name          varchar(255),
    owner_id              varchar(255) NOT NULL,
    description           text,
    frontmatter           text,
    emoji                 varchar(16),
    avatar                text,
    agent_type            varchar(20) NOT NULL DEFAULT 'open' CHECK (agent_type IN ('open', 'predefined')),
    status                varchar(20) NOT NULL DEFAULT 'active'
                          CHECK (status IN ('active', 'inactive', 'summoning', 'summon_failed')),
    is_default            boolean NOT NULL DEFAULT false,
    a2a_public            boolean NOT NULL DEFAULT false,
    provider              varchar(50) NOT NULL,
    model                 varchar(200) NOT NULL,
    fallback_models       text[] NOT NULL DEFAULT '{}',
    context_window        integer NOT NULL DEFAULT 200000,
    max_tool_iterations   integer NOT NULL DEFAULT 20,
    max_tokens            integer,
    temperature           double precision,
    thinking_level        varchar(16),
    reasoning_config      jsonb,
    workspace             text NOT NULL DEFAULT '.',
    restrict_to_workspace boolean NOT NULL DEFAULT true,
    workspace_sharing     jsonb,
    tools_config          jsonb NOT NULL DEFAULT '{}',
    subagents_config      jsonb,
    sandbox_config        jsonb,
    memory_config         jsonb,
    compaction_config     jsonb,
    context_pruning       jsonb,
    loop_config           jsonb,
    structured_output     jsonb,
    shell_deny_groups     jsonb,
    chatgpt_oauth_routing jsonb,
    kg_dedup_config       jsonb,
    self_evolve           boolean NOT NULL DEFAULT false,
    skill_evolve          boolean NOT NULL DEFAULT false,
    skill_nudge_interval  integer,
    startup_check         boolean NOT NULL DEFAULT false,
    budget_monthly_cents  integer CHECK (budget_monthly_cents >= 0),
    other_config          jsonb NOT NULL DEFAULT '{}',
    version               integer NOT NULL DEFAULT 1,
    deleted_at            timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX agents_key ON agents (tenant_id, agent_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX agents_default ON agents (tenant_id) WHERE is_default AND deleted_at IS NULL;
CREATE INDEX agents_owner ON agents (tenant_id, owner_id);
CREATE INDEX agents_status ON agents (tenant_id, status) WHERE deleted_at IS NULL;
