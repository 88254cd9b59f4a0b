-- Usage buckets. A hash holds the buckets of one account and width over a window of time. Its fields: `row:<work>|<key>|
-- <project>|<model>` has the number of a row, `rows` the last number given, and `<bucket>:<row>:<column>` a count, where
-- buckets are numbered within the window. Columns: r requests, p prompt, h cached, c completion, t reasoning, n nanoTON.

local HOUR_MS = 3600000
local WIDTHS = {
    {key = 'usage_minutes', ms = 60000, window = HOUR_MS, kept = 45 * DAY_MS},
    {key = 'usage_hours', ms = HOUR_MS, window = DAY_MS, kept = 400 * DAY_MS},
    {key = 'usage_days', ms = DAY_MS, window = 32 * DAY_MS, kept = 5 * 366 * DAY_MS},
}

-- The caller declares the windows of the hour it believes it is; only the shard knows which one it is.
local function in_declared_hour(a, now)
    return math.floor(now / HOUR_MS) == tonumber(a.hour)
end

local function counts(usage)
    local prompt, cached, completion, reasoning = string.match(usage, '^(%d+),(%d+),(%d+),(%d+)$')
    return {p = tonumber(prompt or '0'), h = tonumber(cached or '0'), c = tonumber(completion or '0'),
        t = tonumber(reasoning or '0')}
end

local function usage_row(width, window, entry)
    local name = 'row:' .. table.concat({entry.work, entry.key, entry.project or '', entry.model}, '|')
    local row = redis.call('HGET', window, name)
    if not row then
        row = text(redis.call('HINCRBY', window, 'rows', '1'))
        redis.call('HSET', window, name, row)
        -- An account that asks no more is forgotten by the server itself.
        redis.call('PEXPIRE', window, text(width.kept + width.window))
    end
    return row
end

-- No bucket's sum is larger than that of all tokens the shard has counted.
local function has_room_for_tokens(k, tokens)
    return has_room(k.totals, 'tokens', tonumber(tokens or '0'))
end

-- One request, or, where some of its usage was counted before (empty: none), what changed.
local function count_usage(k, now, entry, before, cost)
    local after, counted = counts(entry.usage), counts(before)
    add(k.totals, 'tokens', after.p + after.h + after.c + after.t)
    for _, width in ipairs(WIDTHS) do
        local window = k[width.key]
        local bucket = math.floor(now % width.window / width.ms)
        local prefix = text(bucket) .. ':' .. usage_row(width, window, entry) .. ':'
        if before == '' then add(window, prefix .. 'r', 1) end
        for _, column in ipairs({'p', 'h', 'c', 't'}) do
            add(window, prefix .. column, after[column] - counted[column])
        end
        add(window, prefix .. 'n', cost)
    end
end
