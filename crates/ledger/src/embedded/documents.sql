-- Added after version 1 was first used: whoever does not know it leaves it alone.
CREATE TABLE IF NOT EXISTS document (
    keyset BLOB PRIMARY KEY,
    nonce BLOB NOT NULL,
    verified_at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
