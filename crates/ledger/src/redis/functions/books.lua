#!lua name=cocoon2

-- The ledger's operations, one Redis Function each. Every function first reads and checks everything and only then
-- writes, because Redis does not undo what a failing function wrote. Every key is declared and carries the shard's
-- tag. The rules are those of docs/LEDGER.md; the embedded store has the same ones in Rust.
--
-- Numbers: Lua has doubles. Amounts that are compared or subtracted here are below 2^53; sums, which may be larger,
-- are only ever changed by HINCRBY. tostring rounds from 10^14, so text is made by `text` alone. Shares of amounts
-- arrive computed.

local AMOUNT_LIMIT = 2^53
local SUM_LIMIT = 2^61
local AGE_LIMIT_MS = 7 * 86400000
local DAY_MS = 86400000
local SEEN_DAYS = 8
local ASIDE_LIMIT = 100000

local function text(number)
    -- HINCRBY refuses "-0".
    if number == 0 then return '0' end
    return string.format('%.0f', number)
end

local function named(values, names)
    local result = {}
    for index, name in ipairs(names) do result[name] = values[index] end
    return result
end

-- The shard's time, which never goes back. It is written even where nothing else is, so that a caller can wait for
-- this call to be durable.
local function time(clock)
    local kept = redis.call('HMGET', clock, 'last', 'test')
    local now
    if kept[2] then
        now = tonumber(kept[2])
    else
        local server = redis.call('TIME')
        now = tonumber(server[1]) * 1000 + math.floor(tonumber(server[2]) / 1000)
    end
    local last = tonumber(kept[1] or '0')
    if now < last then now = last end
    redis.call('HSET', clock, 'last', text(now))
    return now
end

local function is_too_old(made_at, now)
    return tonumber(made_at) + AGE_LIMIT_MS < now
end

local function read_account(account)
    local values = redis.call('HMGET', account, 'balance', 'held')
    local balance, held = tonumber(values[1] or '0'), tonumber(values[2] or '0')
    return balance, balance - held
end

local function has_room(key, field, change)
    return change <= 0 or tonumber(redis.call('HGET', key, field) or '0') + change < SUM_LIMIT
end

local function add(key, field, change)
    if change ~= 0 then redis.call('HINCRBY', key, field, text(change)) end
end

local function pays(bound, bound_keyset, attempt, keyset)
    return attempt > bound or (attempt == bound and bound_keyset == keyset)
end

-- What is remembered of a finished request.
local function pack(state, account, attempt, keyset, charged, operator, operator_part, reserved)
    return table.concat(
        {state, account, text(attempt), keyset, text(charged), operator, text(operator_part), text(reserved)}, '|')
end

local function unpack_finished(packed)
    if not packed then return nil end
    local state, account, attempt, keyset, charged, operator, part, reserved =
        string.match(packed, '^(%a+)|([^|]*)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)|(%d+)$')
    return {
        state = state, account = account, attempt = tonumber(attempt), keyset = keyset,
        charged = tonumber(charged), operator = operator, operator_part = tonumber(part), reserved = tonumber(reserved),
    }
end

local function remember(days, day, key, field, value)
    redis.call('HSET', key, field, value)
    redis.call('ZADD', days, day, day)
end

local function open_hold(k, amount)
    add(k.account, 'held', amount)
    add(k.account, 'open_holds', 1)
    add(k.totals, 'held', amount)
    add(k.totals, 'open_holds', 1)
end

local function end_hold(k, request, amount)
    add(k.account, 'held', -amount)
    add(k.account, 'open_holds', -1)
    add(k.totals, 'held', -amount)
    add(k.totals, 'open_holds', -1)
    redis.call('DEL', k.hold)
    redis.call('ZREM', k.leases, request)
end

-- A movement: `taken` from the account (negative: refunded), `shortfall`, `operator` (negative: reversed). The
-- platform has the remainder.
local function platform_part(movement)
    return movement.taken + movement.shortfall - movement.operator
end

local function fits(k, balance, movement, operator)
    if balance - movement.taken >= AMOUNT_LIMIT then return false end
    return has_room(k.totals, 'balances', -movement.taken)
        and has_room(k.totals, 'charges', movement.taken)
        and has_room(k.totals, 'shortfall', movement.shortfall)
        and has_room(k.operators, 'a:' .. operator, movement.operator)
        and has_room(k.operators, 'r:' .. operator, -movement.operator)
end

local function charge(k, movement, operator)
    add(k.account, 'balance', -movement.taken)
    add(k.account, 'charged', movement.taken)
    add(k.account, 'shortfall', movement.shortfall)
    add(k.totals, 'balances', -movement.taken)
    add(k.totals, 'charges', movement.taken)
    add(k.totals, 'shortfall', movement.shortfall)
    add(k.totals, 'platform', platform_part(movement))
    if movement.operator > 0 then
        add(k.operators, 'a:' .. operator, movement.operator)
    else
        add(k.operators, 'r:' .. operator, -movement.operator)
    end
end

-- The same fields in the same order in every entry: a stream then keeps their names once.
local function journal(key, now, kind, entry, movement)
    redis.call('XADD', key, '*',
        't', text(now), 'k', kind, 'a', entry.account, 'c', entry.cause,
        'y', entry.key or '', 'p', entry.project or '', 'm', entry.model or '', 'w', entry.work or '', 'o', entry.operator or '',
        'r', entry.receipt or '', 'd', entry.receipt_digest or '', 'u', entry.usage or '',
        'n', text(-movement.taken), 's', text(movement.shortfall),
        'op', text(movement.operator), 'pl', text(platform_part(movement)))
end
