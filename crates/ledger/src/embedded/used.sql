-- What a key (`k:<id>`), a project (`p:<id>`) and the account itself (`a:`) have used: two rates and the sums of four
-- periods. Rows that are not to be kept (`kept` = 0) are deleted when they were not used for 60 days.
CREATE TABLE IF NOT EXISTS used (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    whose TEXT NOT NULL,
    at INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    requests_debt INTEGER NOT NULL,
    requests_at INTEGER NOT NULL,
    requests_limit INTEGER NOT NULL,
    tokens_debt INTEGER NOT NULL,
    tokens_at INTEGER NOT NULL,
    tokens_limit INTEGER NOT NULL,
    day INTEGER NOT NULL,
    day_spent INTEGER NOT NULL,
    day_held INTEGER NOT NULL,
    week INTEGER NOT NULL,
    week_spent INTEGER NOT NULL,
    week_held INTEGER NOT NULL,
    month INTEGER NOT NULL,
    month_spent INTEGER NOT NULL,
    month_held INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (shard, account, whose)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_at ON used (shard, kept, at);
-- Requests that run, by the end of their lease.
CREATE INDEX IF NOT EXISTS hold_running ON hold (shard, account, lease_end_ms, key, project);
