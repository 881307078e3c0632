-- What may be spent, what was, and what calls under way may still take.

CREATE TABLE budget_purses (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    scope        varchar(8) NOT NULL CHECK (scope IN ('tenant', 'user', 'agent', 'run')),
    key          varchar(255) NOT NULL, -- '-' for the tenant's own
    unit         varchar(8) NOT NULL DEFAULT 'usd' CHECK (unit IN ('usd', 'tokens')),
    window_kind  varchar(8) NOT NULL DEFAULT 'month' CHECK (window_kind IN ('day', 'week', 'month', 'total')),
    window_start timestamptz NOT NULL,
    -- NULL: only counted
    limit_amount numeric(28, 8),
    mode         varchar(8) NOT NULL DEFAULT 'hard' CHECK (mode IN ('hard', 'soft')),
    spent        numeric(28, 8) NOT NULL DEFAULT 0,
    reserved     numeric(28, 8) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    granted      numeric(28, 8) NOT NULL DEFAULT 0,
    -- in this window, once each
    warned_at    timestamptz,
    reached_at   timestamptz,
    created_by   varchar(255),
    version      integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, scope, key, unit, window_kind)
);

CREATE TABLE budget_reservations (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    run_id       uuid NOT NULL,
    -- of the life that made it; 0: no run did, and only time ends it
    fence        bigint NOT NULL,
    step_no      integer NOT NULL,
    attempt      integer NOT NULL DEFAULT 0,
    purse_ids    uuid[] NOT NULL,
    -- in which window of each purse it is held: in a later one it counts nothing
    windows      timestamptz[] NOT NULL,
    amount       numeric(28, 8) NOT NULL,
    tokens       bigint NOT NULL DEFAULT 0,
    -- the part of both that is the prompt's: what a call has cost at least of which nobody heard again
    input_amount numeric(28, 8) NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    provider     varchar(50) NOT NULL,
    model        varchar(200) NOT NULL,
    state        varchar(10) NOT NULL DEFAULT 'HELD' CHECK (state IN ('HELD', 'SETTLED', 'RELEASED', 'LOST')),
    settled      numeric(28, 8),
    sent_at      timestamptz,
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    closed_at    timestamptz,
    UNIQUE (run_id, step_no, attempt)
);

CREATE INDEX budget_reservations_held ON budget_reservations (expires_at) WHERE state = 'HELD';
CREATE INDEX budget_reservations_closed ON budget_reservations (closed_at) WHERE state <> 'HELD';
CREATE INDEX budget_reservations_tenant ON budget_reservations (tenant_id, created_at);
