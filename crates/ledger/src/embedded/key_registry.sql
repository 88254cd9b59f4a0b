-- API keys without their texts. `project` is empty where there is none; `record` is JSON.
CREATE TABLE IF NOT EXISTS api_key (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    project TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (shard, account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS api_key_by_set ON api_key (shard, account, scope, project, id);

-- Projects that keys or limits name.
CREATE TABLE IF NOT EXISTS project (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (shard, account, id)
) STRICT, WITHOUT ROWID;
