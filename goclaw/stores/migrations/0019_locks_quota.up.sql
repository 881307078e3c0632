-- What runs have for themselves while they work, and who waits for it.

CREATE TABLE resource_locks (
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    namespace    varchar(300) NOT NULL,
    resource_key varchar(300) NOT NULL,
    mode         varchar(10) NOT NULL DEFAULT 'exclusive' CHECK (mode IN ('exclusive', 'read')),
    run_id       uuid NOT NULL,
    inferred     boolean NOT NULL DEFAULT false,
    inherited    boolean NOT NULL DEFAULT false,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, namespace, resource_key, run_id)
);

-- a child may use what its ancestor holds, and a guess is in the way of nothing declared
CREATE UNIQUE INDEX resource_locks_exclusive ON resource_locks (tenant_id, namespace, resource_key, inferred)
    WHERE mode = 'exclusive' AND NOT inherited;
CREATE INDEX resource_locks_run ON resource_locks (run_id);

CREATE TABLE lock_waits (
    run_id    uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    namespace varchar(300) NOT NULL,
    tries     integer NOT NULL DEFAULT 0,
    holders   uuid[] NOT NULL DEFAULT '{}',
    since     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX lock_waits_namespace ON lock_waits (tenant_id, namespace, since);

ALTER TABLE runs ADD COLUMN keys_inferred boolean NOT NULL DEFAULT false;

-- Whatever ends a run or puts it back, in whichever statement: its keys are free with that commit.
CREATE FUNCTION free_resource_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM resource_locks WHERE run_id = NEW.run_id;
    DELETE FROM lock_waits WHERE run_id = NEW.run_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER runs_free_keys AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (NEW.resource_keys <> '{}' AND NEW.state NOT IN ('CLAIMED', 'RUNNING')) EXECUTE FUNCTION free_resource_keys();

-- How often a chat of many was answered lately, without reading everybody's runs.
CREATE INDEX runs_group ON runs (tenant_id, (split_part(session_key, ':', 3) || ':' || split_part(session_key, ':', 5)),
    created_at DESC) WHERE parent_run_id IS NULL AND split_part(session_key, ':', 4) = 'group';
