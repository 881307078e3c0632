-- Chaos plans: what an operator broke on purpose, and what it cost.

CREATE TABLE chaos_plans (
    id         uuid PRIMARY KEY,
    node_id    uuid NOT NULL,
    name       varchar(100) NOT NULL DEFAULT '',
    seed       bigint NOT NULL,
    plan       jsonb NOT NULL,
    state      varchar(12) NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ended', 'aborted', 'interrupted')),
    reason     varchar(60),
    report     jsonb,
    started_by varchar(255) NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);

CREATE INDEX chaos_plans_recent ON chaos_plans (started_at DESC);
