#!/bin/sh
exec goflow2 -listen 'netflow://:2055,sflow://:6343' -addr 127.0.0.1:8080 -format json -transport kafka \
    -transport.kafka.brokers 127.0.0.1:9092 -transport.kafka.topic goflow2 \
    -transport.kafka.flushfreq 1s -transport.kafka.compression lz4
