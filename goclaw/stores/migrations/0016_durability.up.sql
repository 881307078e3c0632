-- What makes accepted work survive: checkpoints, the ledger of effects, records, deliveries, owners.

CREATE TABLE run_records (
    run_id    uuid NOT NULL,
    seq       integer NOT NULL,
    tenant_id uuid NOT NULL,
    kind      varchar(10) NOT NULL CHECK (kind IN ('open', 'request', 'response', 'tool', 'input', 'draws', 'chunks',
                  'end')),
    step_no   integer,
    body      jsonb NOT NULL DEFAULT '{}',
    body_enc  bytea,
    blob      char(64),
    fence     bigint NOT NULL DEFAULT 0,
    pinned    boolean NOT NULL DEFAULT false,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, seq)
);

CREATE INDEX run_records_at ON run_records (at) WHERE NOT pinned;
CREATE INDEX run_records_blob ON run_records (blob) WHERE blob IS NOT NULL;

-- prompts and tool schemas, which many runs share
CREATE TABLE record_blobs (
    hash char(64) PRIMARY KEY,
    body text NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE loop_checkpoints (
    run_id          uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    iteration       integer NOT NULL DEFAULT 0,
    current_step    integer NOT NULL DEFAULT 0,
    max_steps       integer,
    tokens_used     bigint NOT NULL DEFAULT 0,
    max_tokens      bigint,
    started_at      timestamptz NOT NULL,
    max_duration_ms bigint,
    status          varchar(20) NOT NULL DEFAULT 'running',
    status_text     varchar(200),
    summary         text,
    fence           bigint NOT NULL DEFAULT 0,
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tool_effects (
    idempotency_key varchar(120) PRIMARY KEY,
    run_id          uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    step_no         integer NOT NULL,
    call_index      integer NOT NULL,
    tool            varchar(150) NOT NULL,
    effect_class    varchar(12) NOT NULL CHECK (effect_class IN ('local', 'keyed', 'checkable', 'unsafe')),
    request_hash    char(64) NOT NULL,
    status          varchar(12) NOT NULL CHECK (status IN ('STARTED', 'SUCCEEDED', 'FAILED', 'UNKNOWN')),
    result          jsonb,
    result_hash     char(64),
    external_id     varchar(255),
    fence           bigint NOT NULL DEFAULT 0,
    started_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);

CREATE INDEX tool_effects_run ON tool_effects (run_id, step_no);
CREATE INDEX tool_effects_started ON tool_effects (started_at);

CREATE TABLE ingress_log (
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    source       varchar(150) NOT NULL,
    external_id  varchar(400) NOT NULL,
    run_id       uuid,
    request_hash char(64),
    response     jsonb,
    received_at  timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    PRIMARY KEY (tenant_id, source, external_id)
);

CREATE INDEX ingress_log_received ON ingress_log (received_at);

CREATE TABLE outbox (
    outbox_id        uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    run_id           uuid,
    trace_id         uuid,
    seq              integer NOT NULL DEFAULT 0,
    instance_id      uuid,
    channel_instance varchar(100) NOT NULL,
    chat_id          varchar(255) NOT NULL,
    local_key        varchar(400) NOT NULL,
    kind             varchar(16) NOT NULL CHECK (kind IN (
                         'final', 'block', 'reasoning', 'notice', 'progress', 'command_reply', 'approval')),
    payload          jsonb NOT NULL,
    dedupe_key       varchar(200) NOT NULL,
    state            varchar(8) NOT NULL DEFAULT 'PENDING' CHECK (state IN (
                         'PENDING', 'SENDING', 'SENT', 'FAILED', 'DEAD')),
    attempts         integer NOT NULL DEFAULT 0,
    next_at          timestamptz NOT NULL DEFAULT now(),
    lease_owner      uuid,
    lease_expires_at timestamptz,
    external_id      varchar(255),
    maybe_duplicate  boolean NOT NULL DEFAULT false,
    last_error       text,
    expires_at       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    sent_at          timestamptz,
    UNIQUE (tenant_id, dedupe_key)
);

CREATE INDEX outbox_due ON outbox (next_at) WHERE state = 'PENDING';
CREATE INDEX outbox_chat ON outbox (channel_instance, local_key, outbox_id) WHERE state IN ('PENDING', 'SENDING');
CREATE INDEX outbox_lease ON outbox (lease_expires_at) WHERE state = 'SENDING';
CREATE INDEX outbox_state ON outbox (tenant_id, state, created_at DESC);
CREATE INDEX outbox_run ON outbox (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE announcements (
    announce_id        uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    origin_session_key varchar(500) NOT NULL,
    batch_key          varchar(200) NOT NULL,
    item               jsonb NOT NULL,
    state              varchar(10) NOT NULL DEFAULT 'HELD' CHECK (state IN ('HELD', 'READY', 'INJECTED')),
    injected_run_id    uuid,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX announcements_origin ON announcements (tenant_id, origin_session_key, state);

CREATE TABLE cluster_nodes (
    node_id          uuid PRIMARY KEY,
    name             varchar(100) NOT NULL,
    incarnation      bigint NOT NULL DEFAULT 1,
    url              text,
    version          varchar(40) NOT NULL,
    proto_min        integer NOT NULL DEFAULT 3,
    proto_max        integer NOT NULL DEFAULT 3,
    pid              integer,
    started_at       timestamptz NOT NULL DEFAULT now(),
    lease_expires_at timestamptz NOT NULL,
    draining         boolean NOT NULL DEFAULT false,
    capacity         integer NOT NULL DEFAULT 100,
    load             jsonb NOT NULL DEFAULT '{}',
    advisory_key     bigint NOT NULL,
    stopped_at       timestamptz
);

CREATE INDEX cluster_nodes_name ON cluster_nodes (name);
CREATE INDEX cluster_nodes_lease ON cluster_nodes (lease_expires_at);

CREATE TABLE shard_leases (
    shard      smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
    node_id    uuid,
    fence      bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,
    moving_to  uuid
);

INSERT INTO shard_leases (shard) SELECT generate_series(0, 255);

CREATE TABLE named_leases (
    name       varchar(200) PRIMARY KEY,
    node_id    uuid NOT NULL,
    fence      bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);

CREATE TABLE node_inbox (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    to_node   uuid NOT NULL,
    to_path   text NOT NULL,
    from_path text,
    type      varchar(100) NOT NULL,
    version   integer NOT NULL DEFAULT 1,
    body      jsonb NOT NULL,
    ask_id    uuid,
    deadline  timestamptz,
    state     varchar(8) NOT NULL DEFAULT 'NEW' CHECK (state IN ('NEW', 'TAKEN')),
    at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX node_inbox_new ON node_inbox (to_node, id) WHERE state = 'NEW';

CREATE INDEX session_messages_archived ON session_messages (archived_at) WHERE archived_at IS NOT NULL;

-- A run that waits for another try is in the queue too.
DROP INDEX runs_waiting;
CREATE INDEX runs_waiting ON runs (tenant_id, session_key, run_id) WHERE state IN ('QUEUED', 'RETRY_WAIT');

-- The shard of a session as every build and every node works it out.
CREATE FUNCTION shard_of(tenant uuid, key text) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT get_byte(sha256(convert_to(tenant::text, 'UTF8') || '\x00'::bytea || convert_to(key, 'UTF8')), 0)::smallint
$$;

UPDATE session_heads SET shard = shard_of(tenant_id, session_key);
UPDATE runs SET shard = shard_of(tenant_id, session_key) WHERE finished_at IS NULL;

-- The trail of a run is a chain: every event carries the hash of itself and of the one before.
CREATE FUNCTION run_event_hash(event run_events) RETURNS char(64) LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(event.prev_hash || jsonb_build_object(
        'run_id', event.run_id, 'tenant_id', event.tenant_id, 'session_key', event.session_key,
        'session_seq', event.session_seq, 'type', event.type, 'state_from', event.state_from,
        'state_to', event.state_to, 'attempt', event.attempt, 'fence', event.fence, 'node_id', event.node_id,
        'actor', event.actor, 'reason_code', event.reason_code, 'payload', event.payload,
        'trace_id', event.trace_id, 'at', to_char(event.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text, 'UTF8')), 'hex')
$$;

CREATE FUNCTION chain_run_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.type <> 'task.enqueued' THEN  -- always the first; for the others: almost always in a young partition
        SELECT hash INTO NEW.prev_hash FROM run_events
        WHERE run_id = NEW.run_id AND at > now() - interval '8 days' ORDER BY event_id DESC LIMIT 1;
        IF NEW.prev_hash IS NULL THEN
            SELECT hash INTO NEW.prev_hash FROM run_events WHERE run_id = NEW.run_id ORDER BY event_id DESC LIMIT 1;
        END IF;
    END IF;
    NEW.prev_hash := coalesce(NEW.prev_hash, repeat('0', 64));
    NEW.hash := run_event_hash(NEW);
    RETURN NEW;
END
$$;

CREATE TRIGGER run_events_chain BEFORE INSERT ON run_events FOR EACH ROW EXECUTE FUNCTION chain_run_event();
