-- Counts one request against all quotas, or against none when one of them is spent.
--
-- The rule is the one of `admits` in fluxpay/core/limits.py; a contract test holds the two together.
-- Time is the server's, so that all replicas share one window. Every number is an integer and, as
-- long as requests times window_ms stays below 2^53, exact.
--
-- KEYS, one a quota: rate_limit:{<tenant>}:<name>/<window_s>. The slice's number is appended here;
--   the hash tag keeps all of them in the slot of what is declared.
-- ARGV, three a quota: window_ms, requests, burst (requests when there is none).
-- Returns three a quota: counted in the window before, in this one before this request, elapsed_ms.

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local answer = {}
local slices = {}
local room = true

for quota, base in ipairs(KEYS) do
  local window_ms = tonumber(ARGV[quota * 3 - 2])
  local requests = tonumber(ARGV[quota * 3 - 1])
  local burst = tonumber(ARGV[quota * 3])

  local elapsed_ms = now_ms % window_ms
  local index = (now_ms - elapsed_ms) / window_ms
  local slice = base .. '/' .. string.format('%.0f', index)
  local counted = redis.call('MGET', base .. '/' .. string.format('%.0f', index - 1), slice)
  local previous = tonumber(counted[1] or '0')
  local current = tonumber(counted[2] or '0')

  local ceiling = requests + math.min(math.max(0, requests - previous), burst - requests)
  local weighed = previous * (window_ms - elapsed_ms) + (current + 1) * window_ms
  room = room and weighed <= ceiling * window_ms

  slices[quota] = slice
  answer[quota * 3 - 2] = previous
  answer[quota * 3 - 1] = current
  answer[quota * 3] = elapsed_ms
end

if room then
  for quota, slice in ipairs(slices) do
    if redis.call('INCR', slice) == 1 then
      -- In the same call: a counter without an end would lock the tenant out for ever. It is read
      -- until the end of the next window.
      redis.call('PEXPIRE', slice, string.format('%.0f', 2 * tonumber(ARGV[quota * 3 - 2])))
    end
  end
end

return answer
