-- Counts a try, or looks at how things stand. KEYS[1]: the list of a key's tries, oldest first, as microseconds.
-- ARGV: `admit` or `look`, the limit, the window in microseconds, and a time to take for the server's, or nothing.
-- Answers: whether the try is admitted (1, 0); until when the next one waits, in microseconds; and how long ago the oldest
-- within the window was (-1: there is none).
local key, limit, window = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[4])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local count = redis.call('LLEN', key)

-- What lies ahead was counted before the server's clock was set back, and counts as of now: else a corrected clock
-- would lock people out.
local function at(index)
    return math.min(tonumber(redis.call('LINDEX', key, index)), now)
end

-- Where the window begins; a try that is exactly a window old is over.
local first = 0
if count > 0 and at(0) <= now - window then
    local within = count
    if at(-1) > now - window then
        within = count - 1
        local over = 0
        while within - over > 1 do
            local middle = math.floor((within + over) / 2)
            if at(middle) <= now - window then over = middle else within = middle end
        end
    end
    first = within
end

local held = count - first
local wait = 0
if held >= limit then wait = at(count - limit) + window - now end
if ARGV[1] == 'look' then
    local oldest = -1
    if held > 0 then oldest = now - at(first) end
    return {0, wait, oldest}
end

if held == 0 then
    redis.call('DEL', key)
elseif first > 0 then
    redis.call('LTRIM', key, first, -1)
end
if wait > 0 then return {0, wait, -1} end
-- After a step back, what lies ahead is written down as of now, so that the list stays in order.
for index = held - 1, 0, -1 do
    if tonumber(redis.call('LINDEX', key, index)) <= now then break end
    redis.call('LSET', key, index, string.format('%.0f', now))
end
redis.call('RPUSH', key, string.format('%.0f', now))
redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
return {1, 0, -1}
