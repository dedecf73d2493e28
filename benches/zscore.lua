#!lua name=bench
-- The Redis Function that people could write: FCALL bench_zscore 1 key timestamp value. A z-score over the last 30 readings of
-- the key, the reading itself excluded; TS.ADD; XADD when it is abnormal, which then is not learnt.
--
-- The window is one string: sum, sum of squares, count, place of the oldest, and 30 doubles. The sums are kept up, so a reading
-- costs one GET, one SET and no loop. `anomaly bench` loads it to have something to compare with.
local WINDOW, THRESHOLD, HEAD = 30, 6, 20

local function zscore(keys, args)
  local key, at, value = keys[1], args[1], tonumber(args[2])
  local state = redis.call("GET", "w:" .. key) or string.rep("\0", HEAD + 8 * WINDOW)
  local sum, squares, count, oldest = struct.unpack("<ddHH", state)
  redis.call("TS.ADD", "ts:" .. key, at, args[2], "CHUNK_SIZE", 1024, "ON_DUPLICATE", "LAST", "LABELS", "sensor", key)
  if count == WINDOW then
    local mean = sum / WINDOW
    local deviation = math.sqrt(math.max(0, (squares - sum * mean) / (WINDOW - 1)))
    if deviation > 0 and math.abs(value - mean) > THRESHOLD * deviation then
      redis.call("XADD", "bench:function", "MAXLEN", "~", 100000, "*", "sensor", key, "ts", at, "value", args[2],
        "score", math.abs(value - mean) / deviation)
      return 1
    end
    local old = struct.unpack("<d", state, HEAD + 8 * oldest + 1)
    sum, squares = sum - old, squares - old * old
  else
    count = count + 1
  end
  local place = HEAD + 8 * oldest
  redis.call("SET", "w:" .. key, struct.pack("<ddHH", sum + value, squares + value * value, count, (oldest + 1) % WINDOW) ..
    state:sub(HEAD + 1, place) .. struct.pack("<d", value) .. state:sub(place + 9))
  return 0
end

redis.register_function("bench_zscore", zscore)
