-- Tenants come first: every other table belongs to one. Single-tenant installs only ever use the master.

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    slug       varchar(63) NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       varchar(255) NOT NULL,
    status     varchar(16) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleting')),
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO tenants (id, slug, name) VALUES ('0193a5b0-7000-7000-8000-000000000001', 'master', 'Master');
