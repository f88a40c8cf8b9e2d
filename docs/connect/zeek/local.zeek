@load policy/tuning/json-logs
