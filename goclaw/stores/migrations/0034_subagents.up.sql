-- Subagents: what a run has handed to children of its own, and how it ended, written by whatever ends the child.

CREATE TABLE subagent_tasks (
    -- made from the key of the call that asked for it, so that it is made once
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    agent_id           uuid,
    parent_agent_key   varchar(100) NOT NULL,
    -- of the parent, and how often it had been reset by then
    session_key        varchar(500) NOT NULL,
    session_generation integer NOT NULL DEFAULT 0,
    child_session_key  varchar(500) NOT NULL,
    -- the one at work; every steer brings another
    run_id             uuid NOT NULL UNIQUE,
    parent_run_id      uuid NOT NULL,
    root_run_id        uuid NOT NULL,
    depth              integer NOT NULL DEFAULT 1,
    label              varchar(255) NOT NULL,
    description        text NOT NULL,
    model              varchar(255) NOT NULL DEFAULT '',
    status             varchar(20) NOT NULL DEFAULT 'running'
                       CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    -- waits until fewer of its tree work
    held               boolean NOT NULL DEFAULT false,
    -- for children of its own, and takes no place of its tree meanwhile
    waits              boolean NOT NULL DEFAULT false,
    detached           boolean NOT NULL DEFAULT false,
    -- the parent's session is told how it ended
    announces          boolean NOT NULL DEFAULT true,
    generation         integer NOT NULL DEFAULT 1,
    steers             integer NOT NULL DEFAULT 0,
    -- the call that steered it last
    steered_by         varchar(300),
    result             text,
    error              text,
    iterations         integer NOT NULL DEFAULT 0,
    input_tokens       bigint NOT NULL DEFAULT 0,
    output_tokens      bigint NOT NULL DEFAULT 0,
    completed_at       timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX subagent_tasks_root ON subagent_tasks (root_run_id, created_at);
CREATE INDEX subagent_tasks_parent ON subagent_tasks (parent_run_id);
CREATE INDEX subagent_tasks_session ON subagent_tasks (tenant_id, session_key, created_at DESC);
CREATE INDEX subagent_tasks_open ON subagent_tasks (created_at) WHERE status = 'running';
CREATE INDEX subagent_tasks_over ON subagent_tasks (completed_at) WHERE completed_at IS NOT NULL;

CREATE INDEX announcements_open ON announcements (created_at) WHERE state <> 'INJECTED';

-- a run ends in many ways, and each of them tells the parent in its own commit
CREATE FUNCTION subagent_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    task subagent_tasks;
BEGIN
    IF NEW.state = 'RETRY_WAIT' THEN
        UPDATE subagent_tasks SET status = 'running', completed_at = NULL, updated_at = now()
        WHERE run_id = NEW.run_id;
        RETURN NULL;
    END IF;
    UPDATE subagent_tasks t SET
        status = CASE NEW.state WHEN 'SUCCEEDED' THEN 'completed' WHEN 'CANCELED' THEN 'cancelled' ELSE 'failed' END,
        result = left(coalesce(NEW.result->>'content', ''), 200000), held = false, waits = false,
        error = CASE WHEN NEW.state IN ('FAILED', 'DEAD_LETTER') THEN NEW.reason_code END,
        input_tokens = coalesce((NEW.result->'usage'->>'prompt_tokens')::bigint, 0),
        output_tokens = coalesce((NEW.result->'usage'->>'completion_tokens')::bigint, 0),
        iterations = (SELECT count(*) FROM run_steps s WHERE s.run_id = NEW.run_id AND s.kind = 'llm'),
        completed_at = now(), updated_at = now()
    WHERE t.run_id = NEW.run_id RETURNING * INTO task;
    IF FOUND AND task.announces THEN
        INSERT INTO announcements (announce_id, tenant_id, origin_session_key, batch_key, item)
        VALUES (gen_random_uuid(), task.tenant_id, task.session_key, 'subagent:' || task.parent_run_id,
            jsonb_build_object('task', task.id, 'run', NEW.run_id));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER subagent_moved AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (NEW.kind = 'subagent' AND (
        NEW.state IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'DEAD_LETTER')
            AND OLD.state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
        OR OLD.state = 'FAILED' AND NEW.state = 'RETRY_WAIT'))
    EXECUTE FUNCTION subagent_moved();

-- an operator tries one again that was cancelled or is a dead letter: a new run for the same task
CREATE FUNCTION subagent_again() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    task subagent_tasks;
BEGIN
    UPDATE subagent_tasks SET run_id = NEW.run_id, status = 'running', completed_at = NULL, announces = true,
        updated_at = now()
    WHERE run_id = NEW.requeued_from RETURNING * INTO task;
    IF FOUND THEN
        NEW.parent_run_id = task.parent_run_id;
        NEW.root_run_id = task.root_run_id;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER subagent_again BEFORE INSERT ON runs FOR EACH ROW
    WHEN (NEW.kind = 'subagent' AND NEW.requeued_from IS NOT NULL)
    EXECUTE FUNCTION subagent_again();
