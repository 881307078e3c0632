-- What people did to the gateway, and what happened to its actors, for those who look later.

CREATE TABLE activity_logs (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    actor_type  varchar(20) NOT NULL CHECK (actor_type IN ('user', 'agent', 'system', 'node', 'api_key')),
    actor_id    varchar(255) NOT NULL,
    action      varchar(100) NOT NULL,
    entity_type varchar(50),
    entity_id   varchar(255),
    details     jsonb NOT NULL DEFAULT '{}',
    ip_address  varchar(45),
    request_id  varchar(64),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX activity_logs_recent ON activity_logs (tenant_id, created_at DESC);
CREATE INDEX activity_logs_actor ON activity_logs (tenant_id, actor_type, actor_id);
CREATE INDEX activity_logs_action ON activity_logs (tenant_id, action);
CREATE INDEX activity_logs_entity ON activity_logs (tenant_id, entity_type, entity_id);

CREATE TABLE actor_restart_log (
    id                 uuid PRIMARY KEY,
    at                 timestamptz NOT NULL DEFAULT now(),
    node_id            uuid NOT NULL,
    tenant_id          uuid,
    path               varchar(1024) NOT NULL,
    kind               varchar(30) NOT NULL,
    class              varchar(80),
    incarnation        bigint NOT NULL,
    event              varchar(12) NOT NULL CHECK (event IN (
                           'started', 'stopped', 'crashed', 'restarted', 'quarantined', 'escalated', 'killed')),
    reason             varchar(40),
    strategy           varchar(16),
    supervisor         varchar(1024),
    error_type         varchar(200),
    error_message      text,
    fingerprint        char(16),
    traceback          text,
    in_hand_type       varchar(120),
    in_hand_trace_id   uuid,
    mailbox_depth      integer,
    uptime_ms          bigint,
    restarts_in_window integer,
    backoff_ms         integer,
    by                 varchar(255),
    note               text
);

CREATE INDEX actor_restart_log_recent ON actor_restart_log (at DESC);
CREATE INDEX actor_restart_log_path ON actor_restart_log (path, at DESC);
CREATE INDEX actor_restart_log_fingerprint ON actor_restart_log (fingerprint, at DESC) WHERE fingerprint IS NOT NULL;
CREATE INDEX actor_restart_log_kind ON actor_restart_log (kind, event, at DESC);
