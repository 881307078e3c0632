-- Vectors that were paid for, by the hash of model and text.
-- Looked up, never searched: not of type `vector`, so that a server without that extension has them too.

CREATE TABLE embedding_cache (
    hash         varchar(64) NOT NULL,
    provider     varchar(64) NOT NULL,
    model        varchar(200) NOT NULL,
    embedding    real[] NOT NULL,
    dims         integer NOT NULL CHECK (dims BETWEEN 1 AND 1536),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (hash, provider, model)
);

CREATE INDEX embedding_cache_used ON embedding_cache (last_used_at);
