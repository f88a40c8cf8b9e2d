#!/bin/sh
tail -n +1 -F /opt/zeek/logs/current/conn.log | kcat -P -b 127.0.0.1:9092 -t zeek-kcat -H sensor=edge-1 -z lz4
