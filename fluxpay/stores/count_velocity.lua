-- Counts one payment, unless that would pass the tenant's limit for its currency.
--
-- The rule is the one of `Velocity.exceeds` in fluxpay/core/fraud.py; a contract test holds the two
-- together. Time is the server's. Windows are fixed: the limit counts from each window's start.
--
-- KEYS: velocity:{<tenant>}:<currency>/<window_s> and volume:{<tenant>}:<currency>. The number of
--   the window, or of the UTC day since 1970, is appended here.
-- ARGV: window_ms, count_max, amount_minor, volume_minor_max; a maximum of '' is none, and then
--   nothing is counted for it.
-- Returns the payments in this window and the minor units of this day, both before this payment.
--
-- Amounts reach 2^53 - 1, where a Lua number is still exact. INCRBY is given the argument as it
-- came: tostring() would write 1e+15.

local DAY_MS = 86400000

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local window_ms = tonumber(ARGV[1])
local count_max = tonumber(ARGV[2])
local amount_minor = ARGV[3]
local volume_minor_max = tonumber(ARGV[4])

local function slice(base, length_ms)
  return base .. '/' .. string.format('%.0f', (now_ms - now_ms % length_ms) / length_ms)
end

local function add(key, known, amount, length_ms)
  redis.call('INCRBY', key, amount)
  -- The first payment of a slice found no counter; its end is set in the same call.
  if not known then
    redis.call('PEXPIRE', key, string.format('%.0f', 2 * length_ms))
  end
end

local counted, summed = false, false
local velocity_key, volume_key

if count_max then
  velocity_key = slice(KEYS[1], window_ms)
  counted = redis.call('GET', velocity_key)
end
if volume_minor_max then
  volume_key = slice(KEYS[2], DAY_MS)
  summed = redis.call('GET', volume_key)
end
local count, volume_minor = tonumber(counted or '0'), tonumber(summed or '0')

local over = (count_max and count + 1 > count_max)
  or (volume_minor_max and volume_minor + tonumber(amount_minor) > volume_minor_max)

if not over then
  if velocity_key then add(velocity_key, counted, '1', window_ms) end
  if volume_key then add(volume_key, summed, amount_minor, DAY_MS) end
end

return {count, volume_minor}
