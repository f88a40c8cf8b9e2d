#!/bin/sh
argus -d -A -m -i eth0 -B 127.0.0.1 -P 561
exec ra -S 127.0.0.1:561 -n -u -c , \
    -s stime,dur,proto,saddr,sport,dir,daddr,dport,state,spkts,dpkts,sbytes,dbytes \
    -s +sappbytes,+dappbytes,+sttl,+dttl,+smac,+dmac \
    - not man >> /var/log/argus/flows.csv
