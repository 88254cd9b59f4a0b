-- How far a shard's journal is archived (a hash of the newest checkpoint and of the last entry that is gone), who reads it
-- (a hash of the last entry that each reader is done with; empty for none), and dropping what may go.

local function id_parts(id)
    local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(sequence)
end

local function is_after(id, other)
    local ms, sequence = id_parts(id)
    local other_ms, other_sequence = id_parts(other)
    return ms > other_ms or (ms == other_ms and sequence > other_sequence)
end

local function put_head(keys, args)
    local k = named(keys, {'clock', 'retention'})
    local a = named(args, {'before', 'number', 'digest', 'at', 'entries'})
    time(k.clock)
    local newest = redis.call('HGET', k.retention, 'digest') or ''
    if newest == a.digest then return {'put'} end
    if newest ~= a.before then return {'moved'} end
    redis.call('HSET', k.retention, 'number', a.number, 'digest', a.digest, 'at', a.at, 'entries', a.entries)
    return {'put'}
end

local function put_cursor(keys, args)
    local k = named(keys, {'clock', 'cursors'})
    local a = named(args, {'name', 'at', 'limit'})
    time(k.clock)
    local before = redis.call('HGET', k.cursors, a.name)
    if not before then
        if redis.call('HLEN', k.cursors) >= tonumber(a.limit) then return {'overflow'} end
    elseif a.at == '' or (before ~= '' and not is_after(a.at, before)) then
        return {'kept'}
    end
    redis.call('HSET', k.cursors, a.name, a.at)
    return {'put'}
end

-- The last entry that every reader is done with and that is archived; nil where there is none.
local function last_dispensable(k)
    local last = redis.call('HGET', k.retention, 'at')
    if not last then return nil end
    for _, at in ipairs(redis.call('HVALS', k.cursors)) do
        if at == '' then return nil end
        if is_after(last, at) then last = at end
    end
    return last
end

local function trim(keys, args)
    local k = named(keys, {'clock', 'retention', 'cursors', 'journal'})
    local a = named(args, {'age', 'limit'})
    local now = time(k.clock)
    local last = last_dispensable(k)
    if not last then return {'trimmed', '0'} end
    local newest = redis.call('XREVRANGE', k.journal, '+', '-', 'COUNT', '1')[1]
    local number, gone = 0, nil
    for _, entry in ipairs(redis.call('XRANGE', k.journal, '-', last, 'COUNT', a.limit)) do
        -- Its first field is its time, and a shard's time never goes back.
        if entry[1] == newest[1] or tonumber(entry[2][2]) >= now - tonumber(a.age) then break end
        number, gone = number + 1, entry[1]
    end
    if not gone then return {'trimmed', '0'} end
    local first = redis.call('XRANGE', k.journal, '(' .. gone, '+', 'COUNT', '1')[1]
    redis.call('XTRIM', k.journal, 'MINID', first[1])
    redis.call('HSET', k.retention, 'trimmed', gone)
    return {'trimmed', text(number)}
end

redis.register_function('cocoon2_put_head', put_head)
redis.register_function('cocoon2_put_cursor', put_cursor)
redis.register_function('cocoon2_trim', trim)
