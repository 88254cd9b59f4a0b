-- The life of a hold before it is charged.

local function reserve(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'caps', 'used_key', 'used_project',
        'used_account', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'key', 'project', 'model', 'work', 'made_at', 'worst', 'useful', 'lease',
        'limits', 'tokens'})
    local now = time(k.clock)
    local hold = redis.call('HMGET', k.hold, 'account', 'amount')
    if hold[1] then
        if hold[1] ~= a.account then return {'finished'} end
        return {'held', hold[2], '', '', '', '', '', ''}
    end
    if is_too_old(a.made_at, now) or redis.call('HEXISTS', k.finished, a.request) == 1 then return {'finished'} end
    local holders, refused = read_holders(k, a, now)
    if not holders then return {refused} end
    local holder, limit, wait = longest_wait(k, holders)
    if holder then
        return with_rates({'limited', holder, limit, wait == math.huge and '' or text(wait)}, holders)
    end
    local balance, available = read_account(k.account)
    local least = available
    for _, each in ipairs(holders) do
        if each.limits.budget then least = math.min(least, rest_of(each)) end
    end
    least = math.max(least, 0)
    local amount = tonumber(a.worst)
    if a.useful ~= '' then
        amount = math.min(amount, math.max(tonumber(a.useful), math.floor(least / 4)))
    end
    for _, each in ipairs(holders) do
        if each.limits.budget and amount > rest_of(each) then
            return with_rates({'over_budget', each.name, each.limits.letter, text(now)}, holders)
        end
    end
    if amount > available then
        return {balance >= amount and 'balance_held' or 'insufficient', text(available), text(least)}
    end
    local due = text(now + tonumber(a.lease))
    local took = take_of_holders(k, a, holders, amount, due)
    redis.call('HSET', k.hold, 'account', a.account, 'key', a.key, 'project', a.project, 'model', a.model, 'work', a.work,
        'amount', text(amount),
        'due', due, 'lease_end', due, 'reserved', text(now), 'took', took, 'attempt', '0', 'keyset', '')
    redis.call('ZADD', k.leases, due, a.request)
    open_hold(k, amount)
    return with_rates({'held', text(amount)}, holders)
end

local function bind(keys, args)
    local k = named(keys, {'clock', 'hold', 'leases', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'attempt', 'keyset', 'lease', 'grace'})
    local now = time(k.clock)
    local fields = {'account', 'key', 'project', 'attempt', 'keyset'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account ~= a.account then return {'gone'} end
    local bound, attempt = tonumber(hold.attempt), tonumber(a.attempt)
    if attempt == bound and hold.keyset == a.keyset then return {'bound'} end
    if attempt <= bound then return {'superseded'} end
    local lease_end = now + tonumber(a.lease)
    local due = text(lease_end + tonumber(a.grace))
    redis.call('HSET', k.hold, 'attempt', a.attempt, 'keyset', a.keyset, 'due', due, 'lease_end', text(lease_end))
    -- What a superseded attempt reported is not paid.
    redis.call('HDEL', k.hold, 'cost', 'operator', 'operator_part', 'usage', 'tokens')
    redis.call('ZADD', k.leases, due, a.request)
    enter_slot(k, a.request, hold.key, hold.project, text(lease_end))
    return {'bound'}
end

local function extend(keys, args)
    local k = named(keys, {'clock', 'hold', 'leases', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'attempt', 'keyset', 'lease', 'grace', 'cost', 'operator',
        'operator_part', 'usage', 'tokens'})
    local now = time(k.clock)
    local fields = {'account', 'key', 'project', 'attempt', 'keyset', 'amount', 'due', 'lease_end', 'cost', 'tokens'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account ~= a.account then return {'gone'} end
    local cost, tokens = tonumber(a.cost), tonumber(a.tokens)
    local paid = tonumber(hold.attempt) == tonumber(a.attempt) and hold.keyset == a.keyset
    local shrinks = hold.cost and (cost < tonumber(hold.cost) or tokens < tonumber(hold.tokens))
    -- More than the hold is a lie: a backend stops before it.
    if not paid or shrinks or cost > tonumber(hold.amount) then return {'ignored'} end
    local lease_end = math.max(now + tonumber(a.lease), tonumber(hold.lease_end))
    local due = text(math.max(lease_end + tonumber(a.grace), tonumber(hold.due)))
    redis.call('HSET', k.hold, 'due', due, 'lease_end', text(lease_end), 'cost', a.cost, 'operator', a.operator, 'operator_part', a.operator_part,
        'usage', a.usage, 'tokens', a.tokens)
    redis.call('ZADD', k.leases, due, a.request)
    enter_slot(k, a.request, hold.key, hold.project, text(lease_end))
    return {'extended'}
end

local function release(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days', 'used_key', 'used_project',
        'used_account', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'key', 'project', 'made_at', 'day'})
    local now = time(k.clock)
    local fields = {'account', 'key', 'project', 'amount', 'attempt', 'keyset', 'reserved', 'took'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account then
        if hold.account ~= a.account then return {'already'} end
        if hold.key ~= a.key or hold.project ~= a.project then return {'of_others', hold.key, hold.project} end
        local reserved = tonumber(hold.reserved)
        local packed = pack('released', a.account, tonumber(hold.attempt), hold.keyset, 0, '', 0, reserved)
        count_end(k, a.request, now, hold, nil, 0)
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
    remember(k.days, a.day, k.finished, a.request, pack('tombstone', a.account, 0, '', 0, '', 0,
        math.min(tonumber(a.made_at), now)))
    return {'tombstone'}
end

redis.register_function('cocoon2_reserve', reserve)
redis.register_function('cocoon2_bind', bind)
redis.register_function('cocoon2_extend', extend)
redis.register_function('cocoon2_release', release)
