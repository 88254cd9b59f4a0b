-- Deposits and grants differ in the counters they add to and in where their causes are remembered.
local function book(keys, args, kind, counter, sum)
    local k = named(keys, {'clock', 'totals', 'account', 'journal', 'causes', 'accounts'})
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
    know(k.accounts, a.account)
    add(k.account, 'balance', amount)
    add(k.account, counter, amount)
    add(k.totals, 'balances', amount)
    add(k.totals, sum, amount)
    redis.call('XADD', k.journal, '*', 't', text(now), 'k', kind, 'a', a.account, 'c', a.cause, 'y', '', 'p', '',
        'm', '', 'w', '', 'o', '', 'r', '', 'd', '', 'u', '', 'n', text(amount), 's', '0', 'op', '0', 'pl', '0')
    return {'booked', text(balance + amount)}
end

local function credit(keys, args) return book(keys, args, 'd', 'deposited', 'deposits') end

local function grant(keys, args) return book(keys, args, 'g', 'granted', 'grants') end

redis.register_function('cocoon2_credit', credit)
redis.register_function('cocoon2_grant', grant)
