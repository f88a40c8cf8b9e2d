#!/bin/sh
exec nfcapd -p 2055 -w /var/cache/nfdump -t 60 -x '/usr/local/bin/flows-to-json %d/%f %f'
