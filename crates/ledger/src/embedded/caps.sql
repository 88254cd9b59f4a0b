-- What an account's keys may use: its limits (`account`), its projects' (`project:<id>`), and from when on a key is refused
-- (`revoked:<key>`, milliseconds since 1970).
CREATE TABLE IF NOT EXISTS caps (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (shard, account, name)
) STRICT, WITHOUT ROWID;
