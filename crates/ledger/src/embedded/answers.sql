-- Added after version 1 was first used: whoever does not know it leaves it alone.
CREATE TABLE IF NOT EXISTS answer (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    id BLOB NOT NULL,
    begun_ms INTEGER NOT NULL,
    holder TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    -- r: running until due_ms; k: kept; n: ended and not kept. Ended ones are over at due_ms.
    state TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    answer BLOB,
    PRIMARY KEY (shard, account, id)
) STRICT;
-- With the size, so that an account's sum reads no answer.
CREATE INDEX IF NOT EXISTS answer_age ON answer (shard, account, begun_ms, size);
CREATE INDEX IF NOT EXISTS answer_begun ON answer (shard, begun_ms);
