CREATE TABLE IF NOT EXISTS usage (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    -- Milliseconds of a bucket.
    width INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    key TEXT NOT NULL,
    -- Empty: none. A null would not be unique.
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    work TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (shard, account, width, from_ms, key, project, model, work)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_age ON usage (shard, width, from_ms);
