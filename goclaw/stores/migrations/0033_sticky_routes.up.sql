-- Which agent answers whom in which chat, since he said so.

CREATE TABLE sticky_routes (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    channel_instance varchar(100) NOT NULL,
    -- what a session key holds after the channel
    chat_id          varchar(500) NOT NULL,
    user_id          varchar(255) NOT NULL,
    agent_key        varchar(100) NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, channel_instance, chat_id, user_id)
);
