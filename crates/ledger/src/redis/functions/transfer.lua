-- What an import writes that has a number or a counter of its own; the rest are plain commands.

-- A row of a bucket, as it stands.
local function fill_usage(keys, args)
    local a = named(args, {'width', 'bucket', 'work', 'key', 'project', 'model', 'r', 'p', 'h', 'c', 't', 'n'})
    local prefix = a.bucket .. ':' .. usage_row(WIDTHS[tonumber(a.width)], keys[1], a) .. ':'
    for _, column in ipairs({'r', 'p', 'h', 'c', 't', 'n'}) do
        -- A row whose counts are all taken back again is still one.
        if column == 'r' or a[column] ~= '0' then redis.call('HSET', keys[1], prefix .. column, a[column]) end
    end
    return {'filled'}
end

-- The place of a request that runs.
local function fill_slot(keys, args)
    local a = named(args, {'request', 'key', 'project', 'lease_end'})
    enter_slot(named(keys, {'slots', 'running'}), a.request, a.key, a.project, a.lease_end)
    return {'filled'}
end

redis.register_function('cocoon2_fill_usage', fill_usage)
redis.register_function('cocoon2_fill_slot', fill_slot)
