-- Vendors that operators add, the models they have, accounts that log in, and what rests after a failure.

CREATE TABLE llm_providers (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name          varchar(50) NOT NULL,
    display_name  varchar(255),
    provider_type varchar(30) NOT NULL DEFAULT 'openai_compat',
    api_base      text,
    api_key       text, -- sealed: bound to this table, column and row
    enabled       boolean NOT NULL DEFAULT true,
    settings      jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE llm_models (
    id                uuid PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    provider_id       uuid NOT NULL REFERENCES llm_providers (id) ON DELETE CASCADE,
    model_id          varchar(200) NOT NULL,
    display_name      varchar(255),
    context_window    integer,
    max_output_tokens integer,
    capabilities      jsonb NOT NULL DEFAULT '{}',
    pricing           jsonb,
    enabled           boolean NOT NULL DEFAULT true,
    source            varchar(16) NOT NULL DEFAULT 'manual' CHECK (source IN ('discovered', 'manual', 'builtin')),
    fetched_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider_id, model_id)
);
CREATE INDEX llm_models_tenant_id ON llm_models (tenant_id);

CREATE TABLE oauth_tokens (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    provider_id     uuid NOT NULL REFERENCES llm_providers (id) ON DELETE CASCADE,
    user_id         varchar(255) NOT NULL DEFAULT '',
    kind            varchar(30) NOT NULL,
    access_token    text NOT NULL,
    refresh_token   text,
    id_token        text,
    scopes          text[] NOT NULL DEFAULT '{}',
    account         jsonb NOT NULL DEFAULT '{}',
    expires_at      timestamptz,
    last_refresh_at timestamptz,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider_id, user_id)
);
CREATE INDEX oauth_tokens_tenant_id ON oauth_tokens (tenant_id);
CREATE INDEX oauth_tokens_expires_at ON oauth_tokens (expires_at) WHERE refresh_token IS NOT NULL;

CREATE TABLE provider_cooldowns (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    provider   varchar(50) NOT NULL,
    model      varchar(200) NOT NULL,
    key_slot   integer NOT NULL DEFAULT 0, -- -1: with every key
    until      timestamptz NOT NULL,
    reason     varchar(40) NOT NULL,
    failures   integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, provider, model, key_slot)
);
