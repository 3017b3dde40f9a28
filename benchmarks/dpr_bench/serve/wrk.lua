-- Sends the bodies of a file, one a line, in turn, and prints what came back as one line of JSON.

local threads = {}
counts = {} -- global: read from other threads by name

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   requests = {}
   for body in io.lines(args[1]) do
      local headers = { ["Content-Type"] = "application/json" }
      requests[#requests + 1] = wrk.format("POST", wrk.path, headers, body)
   end
   sent = 0
end

function request()
   sent = sent + 1
   return requests[(sent - 1) % #requests + 1]
end

function response(status)
   counts[status] = (counts[status] or 0) + 1
end

function done(summary, latency, _)
   local total = {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("counts")) do
         total[status] = (total[status] or 0) + count
      end
   end
   local listed = {}
   for status, count in pairs(total) do
      listed[#listed + 1] = string.format('"%d": %d', status, count)
   end
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "duration_us": %d, "statuses": {%s}, "socket_errors": %d, "timeouts": %d, '
         .. '"p50_us": %.0f, "p90_us": %.0f, "p99_us": %.0f, "max_us": %.0f}\n',
      summary.requests, summary.duration, table.concat(listed, ", "),
      errors.connect + errors.read + errors.write, errors.timeout,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
