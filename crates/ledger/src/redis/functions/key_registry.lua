-- API keys without their texts, per account: their records in one hash by id, their ids in a sorted set once for every set
-- that they are in (members `<set>/<id>`, all of one score, so that a set is a range and its order that of the ids), projects
-- with the seconds of their first naming in another hash. Limits and revocations are the account's caps.

local function has_room_for_project(projects, project, limit)
    return project == '' or redis.call('HEXISTS', projects, project) == 1
        or redis.call('HLEN', projects) < tonumber(limit)
end

local function put_key(keys, args)
    local k = named(keys, {'clock', 'records', 'ids', 'projects'})
    local a = named(args, {'id', 'record', 'project', 'created', 'limit', 'project_limit'})
    time(k.clock)
    if redis.call('HEXISTS', k.records, a.id) == 1 then return {'already'} end
    if redis.call('HLEN', k.records) >= tonumber(a.limit) then return {'too_many_keys'} end
    if not has_room_for_project(k.projects, a.project, a.project_limit) then return {'too_many_projects'} end
    redis.call('HSET', k.records, a.id, a.record)
    for index = 7, #args do redis.call('ZADD', k.ids, '0', args[index]) end
    if a.project ~= '' then redis.call('HSETNX', k.projects, a.project, a.created) end
    return {'recorded'}
end

local function revoke_key(keys, args)
    local k = named(keys, {'clock', 'records', 'caps'})
    local a = named(args, {'id', 'field', 'after'})
    local now = time(k.clock)
    if redis.call('HEXISTS', k.records, a.id) == 0 then return {'unknown'} end
    local at = now + tonumber(a.after)
    local earlier = redis.call('HGET', k.caps, a.field)
    if earlier and tonumber(earlier) <= at then return {'already', earlier} end
    redis.call('HSET', k.caps, a.field, text(at))
    return {'revoked', text(at)}
end

-- Behind the time that ended keys are kept: of each key its id, its revocation's field and its three members of sets.
local function forget_keys(keys, args)
    local k = named(keys, {'clock', 'records', 'ids', 'caps'})
    local before = time(k.clock) - tonumber(args[1])
    local forgotten = 0
    for index = 2, #args, 5 do
        local id, field = args[index], args[index + 1]
        local record = redis.call('HGET', k.records, id)
        if record then
            local expires = cjson.decode(record).expires
            local revoked = redis.call('HGET', k.caps, field)
            local expired = type(expires) == 'number' and expires * 1000 <= before
            if expired or (revoked and tonumber(revoked) <= before) then
                redis.call('HDEL', k.records, id)
                redis.call('ZREM', k.ids, args[index + 2], args[index + 3], args[index + 4])
                if expired then redis.call('HDEL', k.caps, field) end
                forgotten = forgotten + 1
            end
        end
    end
    return {'forgotten', text(forgotten)}
end

local function is_revoked(keys, args)
    local k = named(keys, {'clock', 'caps'})
    local now = time(k.clock)
    local at = redis.call('HGET', k.caps, args[1])
    return {at and tonumber(at) <= now and 'yes' or 'no'}
end

local function set_limits(keys, args)
    local k = named(keys, {'clock', 'caps', 'projects'})
    local a = named(args, {'field', 'limits', 'project', 'project_limit'})
    local now = time(k.clock)
    if not has_room_for_project(k.projects, a.project, a.project_limit) then return {'too_many_projects'} end
    if a.limits == '' then
        redis.call('HDEL', k.caps, a.field)
    else
        redis.call('HSET', k.caps, a.field, a.limits)
    end
    if a.project ~= '' then redis.call('HSETNX', k.projects, a.project, text(math.floor(now / 1000))) end
    return {'set'}
end

redis.register_function('cocoon2_put_key', put_key)
redis.register_function('cocoon2_revoke_key', revoke_key)
redis.register_function('cocoon2_forget_keys', forget_keys)
redis.register_function('cocoon2_is_revoked', is_revoked)
redis.register_function('cocoon2_set_limits', set_limits)
