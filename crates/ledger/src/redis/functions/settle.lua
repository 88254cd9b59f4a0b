-- What a receipt does to the books: a movement, the kind of its journal entry, whether it ends the open hold, what
-- is remembered of the request (nil: as before), when it was reserved, and what the account paid for it in all.
local function at_no_cost()
    return {kind = 'n', taken = 0, shortfall = 0, operator = 0, total = 0}
end

local function settled(a, total, operator_part, reserved)
    return pack('settled', a.account, tonumber(a.attempt), a.keyset, total, a.operator, operator_part, reserved)
end

local function charge_within(a, reach, reserved)
    local cost = tonumber(a.cost)
    local taken = math.min(cost, reach)
    local part = tonumber(a.operator_part)
    return {
        kind = 'c', taken = taken, shortfall = cost - taken, operator = part, total = taken,
        finished = settled(a, taken, part, reserved), reserved = reserved,
    }
end

local function plan_open_hold(a, hold, available)
    if hold.account ~= a.account
        or not pays(tonumber(hold.attempt), hold.keyset, tonumber(a.attempt), a.keyset) then
        return at_no_cost()
    end
    local amount = tonumber(hold.amount)
    local plan = charge_within(a, amount + available, tonumber(hold.reserved))
    plan.ends = amount
    return plan
end

-- The store lost the hold, or it was given back although something was generated: whatever is available.
local function plan_lost_hold(a, available, reserved)
    return charge_within(a, available, reserved)
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
        total = total, finished = settled(a, total, part, finished.reserved), reserved = finished.reserved,
    }
end

local function plan_finished(a, finished, available)
    if finished.account ~= a.account or finished.state == 'settled'
        or not pays(finished.attempt, finished.keyset, tonumber(a.attempt), a.keyset) then
        return at_no_cost()
    end
    if finished.state == 'expired' then return plan_expired(a, finished, available) end
    return plan_lost_hold(a, available, finished.reserved)
end

local function settle(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days', 'operators',
        'journal', 'receipts', 'aside', 'used_key', 'used_project', 'used_account', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'key', 'project', 'attempt', 'keyset', 'operator', 'operator_part',
        'receipt', 'receipt_digest', 'receipt_jws', 'model', 'work', 'usage', 'cost', 'made_at', 'day', 'receipt_day',
        'requested_at', 'tokens', 'used_key', 'used_project'})
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
    local fields = {'account', 'key', 'project', 'amount', 'attempt', 'keyset', 'reserved', 'took'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    local plan
    if hold.account then
        plan = plan_open_hold(a, hold, available)
    else
        local finished = unpack_finished(redis.call('HGET', k.finished, a.request))
        if finished then
            plan = plan_finished(a, finished, available)
        else
            plan = plan_lost_hold(a, available, math.min(tonumber(a.requested_at), now))
        end
    end
    if not fits(k, balance, plan, a.operator) then return {'overflow'} end

    if plan.ends then
        -- Whose records are declared is what the receipt says, or what this said before.
        if hold.key ~= a.used_key or hold.project ~= a.used_project then
            return {'of_others', hold.key, hold.project}
        end
        count_end(k, a.request, now, hold, tonumber(a.tokens), plan.taken)
        end_hold(k, a.request, plan.ends)
    elseif plan.reserved then
        count(k, now, {reserved = plan.reserved, project = a.used_project, held = 0, spent = plan.taken})
    end
    charge(k, plan, a.operator)
    if plan.finished then remember(k.days, a.day, k.finished, a.request, plan.finished) end
    journal(k.journal, now, plan.kind, a, plan)
    remember(k.days, a.receipt_day, k.receipts, a.receipt, text(plan.total))
    if plan.kind == 'n' then return {'at_no_cost'} end
    return {'charged', text(plan.total), text(plan.shortfall)}
end

redis.register_function('cocoon2_settle', settle)
