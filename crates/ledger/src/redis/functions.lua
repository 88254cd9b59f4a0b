#!lua name=cocoon1

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
local function pack(state, account, attempt, keyset, charged, operator, operator_part)
    return table.concat(
        {state, account, text(attempt), keyset, text(charged), operator, text(operator_part)}, '|')
end

local function unpack_finished(packed)
    if not packed then return nil end
    local state, account, attempt, keyset, charged, operator, part =
        string.match(packed, '^(%a+)|([^|]*)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)$')
    return {
        state = state, account = account, attempt = tonumber(attempt), keyset = keyset,
        charged = tonumber(charged), operator = operator, operator_part = tonumber(part),
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
        'y', entry.key or '', 'p', entry.project or '', 'm', entry.model or '', 'o', entry.operator or '',
        'r', entry.receipt or '', 'd', entry.receipt_digest or '', 'u', entry.usage or '',
        'n', text(-movement.taken), 's', text(movement.shortfall),
        'op', text(movement.operator), 'pl', text(platform_part(movement)))
end

local function reserve(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished'})
    local a = named(args, {'request', 'account', 'key', 'project', 'made_at', 'worst', 'useful', 'lease'})
    local now = time(k.clock)
    local hold = redis.call('HMGET', k.hold, 'account', 'amount')
    if hold[1] then
        if hold[1] ~= a.account then return {'finished'} end
        return {'held', hold[2]}
    end
    if is_too_old(a.made_at, now) or redis.call('HEXISTS', k.finished, a.request) == 1 then return {'finished'} end
    local balance, available = read_account(k.account)
    local amount = tonumber(a.worst)
    if a.useful ~= '' then
        amount = math.min(amount, math.max(tonumber(a.useful), math.floor(available / 4)))
    end
    if amount > available then
        return {balance >= amount and 'balance_held' or 'insufficient', text(available)}
    end
    local due = text(now + tonumber(a.lease))
    redis.call('HSET', k.hold, 'account', a.account, 'key', a.key, 'project', a.project, 'amount', text(amount),
        'due', due, 'attempt', '0', 'keyset', '')
    redis.call('ZADD', k.leases, due, a.request)
    open_hold(k, amount)
    return {'held', text(amount)}
end

local function bind(keys, args)
    local k = named(keys, {'clock', 'hold', 'leases'})
    local a = named(args, {'request', 'account', 'attempt', 'keyset', 'lease', 'grace'})
    local now = time(k.clock)
    local hold = named(redis.call('HMGET', k.hold, 'account', 'attempt', 'keyset'), {'account', 'attempt', 'keyset'})
    if hold.account ~= a.account then return {'gone'} end
    local bound, attempt = tonumber(hold.attempt), tonumber(a.attempt)
    if attempt == bound and hold.keyset == a.keyset then return {'bound'} end
    if attempt <= bound then return {'superseded'} end
    local due = text(now + tonumber(a.lease) + tonumber(a.grace))
    redis.call('HSET', k.hold, 'attempt', a.attempt, 'keyset', a.keyset, 'due', due)
    -- What a superseded attempt reported is not paid.
    redis.call('HDEL', k.hold, 'cost', 'operator', 'operator_part', 'usage', 'tokens')
    redis.call('ZADD', k.leases, due, a.request)
    return {'bound'}
end

local function extend(keys, args)
    local k = named(keys, {'clock', 'hold', 'leases'})
    local a = named(args, {'request', 'account', 'attempt', 'keyset', 'lease', 'grace', 'cost', 'operator',
        'operator_part', 'usage', 'tokens'})
    local now = time(k.clock)
    local fields = {'account', 'attempt', 'keyset', 'amount', 'due', 'cost', 'tokens'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account ~= a.account then return {'gone'} end
    local cost, tokens = tonumber(a.cost), tonumber(a.tokens)
    local paid = tonumber(hold.attempt) == tonumber(a.attempt) and hold.keyset == a.keyset
    local shrinks = hold.cost and (cost < tonumber(hold.cost) or tokens < tonumber(hold.tokens))
    -- More than the hold is a lie: a backend stops before it.
    if not paid or shrinks or cost > tonumber(hold.amount) then return {'ignored'} end
    local due = text(math.max(now + tonumber(a.lease) + tonumber(a.grace), tonumber(hold.due)))
    redis.call('HSET', k.hold, 'due', due, 'cost', a.cost, 'operator', a.operator, 'operator_part', a.operator_part,
        'usage', a.usage, 'tokens', a.tokens)
    redis.call('ZADD', k.leases, due, a.request)
    return {'extended'}
end

local function release(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days'})
    local a = named(args, {'request', 'account', 'made_at', 'day'})
    local now = time(k.clock)
    local fields = {'account', 'amount', 'attempt', 'keyset'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account then
        if hold.account ~= a.account then return {'already'} end
        local packed = pack('released', a.account, tonumber(hold.attempt), hold.keyset, 0, '', 0)
        end_hold(k, a.request, tonumber(hold.amount))
        remember(k.days, a.day, k.finished, a.request, packed)
        return {'released', hold.amount}
    end
    -- Its reserve is refused for its age; what was remembered of it may be forgotten or not.
    if is_too_old(a.made_at, now) then return {'already'} end
    local finished = unpack_finished(redis.call('HGET', k.finished, a.request))
    if finished then
        local again = finished.state == 'tombstone' and finished.account == a.account
        return {again and 'tombstone' or 'already'}
    end
    remember(k.days, a.day, k.finished, a.request, pack('tombstone', a.account, 0, '', 0, '', 0))
    return {'tombstone'}
end

-- What a receipt does to the books: a movement, the kind of its journal entry, whether it ends the open hold, what
-- is remembered of the request (nil: as before), and what the account paid for it in all.
local function at_no_cost()
    return {kind = 'n', taken = 0, shortfall = 0, operator = 0, total = 0}
end

local function settled(a, total, operator_part)
    return pack('settled', a.account, tonumber(a.attempt), a.keyset, total, a.operator, operator_part)
end

local function charge_within(a, reach)
    local cost = tonumber(a.cost)
    local taken = math.min(cost, reach)
    local part = tonumber(a.operator_part)
    return {
        kind = 'c', taken = taken, shortfall = cost - taken, operator = part, total = taken,
        finished = settled(a, taken, part),
    }
end

local function plan_open_hold(a, hold, available)
    if hold.account ~= a.account
        or not pays(tonumber(hold.attempt), hold.keyset, tonumber(a.attempt), a.keyset) then
        return at_no_cost()
    end
    local amount = tonumber(hold.amount)
    local plan = charge_within(a, amount + available)
    plan.ends = amount
    return plan
end

-- The store lost the hold, or it was given back although something was generated: whatever is available.
local function plan_lost_hold(a, available)
    return charge_within(a, available)
end

-- A receipt after its grace corrects the last checkpoint's charge.
local function plan_expired(a, finished, available)
    if finished.operator ~= '' and finished.operator ~= a.operator then return at_no_cost() end
    local part = tonumber(a.operator_part)
    local difference = tonumber(a.cost) - finished.charged
    local taken = math.min(difference, available)
    local total = finished.charged + taken
    return {
        kind = 'x', taken = taken, shortfall = difference - taken, operator = part - finished.operator_part,
        total = total, finished = settled(a, total, part),
    }
end

local function plan_finished(a, finished, available)
    if finished.account ~= a.account or finished.state == 'settled'
        or not pays(finished.attempt, finished.keyset, tonumber(a.attempt), a.keyset) then
        return at_no_cost()
    end
    if finished.state == 'expired' then return plan_expired(a, finished, available) end
    return plan_lost_hold(a, available)
end

local function settle(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days', 'operators',
        'journal', 'receipts', 'aside'})
    local a = named(args, {'request', 'account', 'key', 'project', 'attempt', 'keyset', 'operator', 'operator_part',
        'receipt', 'receipt_digest', 'model', 'usage', 'cost', 'made_at', 'day', 'receipt_day'})
    a.cause = a.request
    local now = time(k.clock)
    if is_too_old(a.made_at, now) then
        if redis.call('HEXISTS', k.aside, a.receipt) == 0 then
            if tonumber(redis.call('HGET', k.totals, 'too_old') or '0') < ASIDE_LIMIT then
                redis.call('HSET', k.aside, a.receipt, table.concat(
                    {text(now), a.account, a.request, a.operator, a.cost, a.receipt_digest}, '|'))
            end
            add(k.totals, 'too_old', 1)
        end
        return {'too_old'}
    end
    local before = redis.call('HGET', k.receipts, a.receipt)
    if before then return {'already', before} end

    local balance, available = read_account(k.account)
    local fields = {'account', 'amount', 'attempt', 'keyset'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    local plan
    if hold.account then
        plan = plan_open_hold(a, hold, available)
    else
        local finished = unpack_finished(redis.call('HGET', k.finished, a.request))
        if finished then
            plan = plan_finished(a, finished, available)
        else
            plan = plan_lost_hold(a, available)
        end
    end
    if not fits(k, balance, plan, a.operator) then return {'overflow'} end

    if plan.ends then end_hold(k, a.request, plan.ends) end
    charge(k, plan, a.operator)
    if plan.finished then remember(k.days, a.day, k.finished, a.request, plan.finished) end
    journal(k.journal, now, plan.kind, a, plan)
    remember(k.days, a.receipt_day, k.receipts, a.receipt, text(plan.total))
    if plan.kind == 'n' then return {'at_no_cost'} end
    return {'charged', text(plan.total), text(plan.shortfall)}
end

-- Requests whose time is over, after the oldest day that may be forgotten (empty: none).
local function expired(keys, args)
    local k = named(keys, {'clock', 'leases', 'days'})
    local now = time(k.clock)
    local first_kept = math.floor(now / DAY_MS) - SEEN_DAYS
    local day = redis.call('ZRANGEBYSCORE', k.days, '-inf', '(' .. text(first_kept), 'LIMIT', '0', '1')
    local over = redis.call('ZRANGEBYSCORE', k.leases, '-inf', text(now), 'LIMIT', '0', args[1])
    table.insert(over, 1, day[1] or '')
    return over
end

local function forget(keys, args)
    local k = named(keys, {'clock', 'days', 'finished', 'receipts'})
    local first_kept = math.floor(time(k.clock) / DAY_MS) - SEEN_DAYS
    if tonumber(args[1]) >= first_kept then return {'kept'} end
    redis.call('UNLINK', k.finished, k.receipts)
    redis.call('ZREM', k.days, args[1])
    return {'forgotten'}
end

local function expire(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days', 'operators',
        'journal'})
    local a = named(args, {'request', 'account', 'day'})
    local now = time(k.clock)
    local fields = {'account', 'key', 'project', 'amount', 'due', 'attempt', 'keyset', 'cost', 'operator',
        'operator_part', 'usage'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account ~= a.account then return {'gone'} end
    if now < tonumber(hold.due) then return {'not_yet'} end
    local balance = read_account(k.account)
    local movement = {taken = tonumber(hold.cost or '0'), shortfall = 0, operator = tonumber(hold.operator_part or '0')}
    local operator = hold.operator or ''
    if not fits(k, balance, movement, operator) then return {'overflow'} end

    end_hold(k, a.request, tonumber(hold.amount))
    if hold.cost then
        charge(k, movement, operator)
        hold.cause = a.request
        journal(k.journal, now, 'e', hold, movement)
    end
    remember(k.days, a.day, k.finished, a.request, pack('expired', hold.account, tonumber(hold.attempt), hold.keyset,
        movement.taken, operator, movement.operator))
    return {'expired', text(movement.taken)}
end

-- Deposits and grants differ in the counters they add to and in where their causes are remembered.
local function book(keys, args, kind, counter, sum)
    local k = named(keys, {'clock', 'totals', 'account', 'journal', 'causes'})
    local a = named(args, {'account', 'cause', 'amount'})
    local now = time(k.clock)
    if redis.call('HEXISTS', k.causes, a.cause) == 1 then return {'already'} end
    local balance = read_account(k.account)
    local amount = tonumber(a.amount)
    if balance + amount >= AMOUNT_LIMIT or not has_room(k.totals, 'balances', amount)
        or not has_room(k.totals, sum, amount) then
        return {'overflow'}
    end
    redis.call('HSET', k.causes, a.cause, a.amount)
    add(k.account, 'balance', amount)
    add(k.account, counter, amount)
    add(k.totals, 'balances', amount)
    add(k.totals, sum, amount)
    redis.call('XADD', k.journal, '*', 't', text(now), 'k', kind, 'a', a.account, 'c', a.cause, 'y', '', 'p', '',
        'm', '', 'o', '', 'r', '', 'd', '', 'u', '', 'n', text(amount), 's', '0', 'op', '0', 'pl', '0')
    return {'booked', text(balance + amount)}
end

local function credit(keys, args) return book(keys, args, 'd', 'deposited', 'deposits') end

local function grant(keys, args) return book(keys, args, 'g', 'granted', 'grants') end

-- Makes the ledger where there is none, and answers what it was made with.
local function create(keys, args)
    if redis.call('EXISTS', keys[1]) == 0 then
        redis.call('HSET', keys[1], 'schema', args[1], 'shards', args[2], 'test_clock', args[3])
    end
    local made = redis.call('HMGET', keys[1], 'schema', 'shards', 'test_clock')
    return {made[1] or '', made[2] or '', made[3] or ''}
end

local function set_time(keys, args)
    redis.call('HSET', keys[1], 'test', args[1])
    return {'set'}
end

redis.register_function('cocoon1_reserve', reserve)
redis.register_function('cocoon1_bind', bind)
redis.register_function('cocoon1_extend', extend)
redis.register_function('cocoon1_release', release)
redis.register_function('cocoon1_settle', settle)
redis.register_function('cocoon1_expired', expired)
redis.register_function('cocoon1_forget', forget)
redis.register_function('cocoon1_expire', expire)
redis.register_function('cocoon1_credit', credit)
redis.register_function('cocoon1_grant', grant)
redis.register_function('cocoon1_create', create)
redis.register_function('cocoon1_set_time', set_time)
