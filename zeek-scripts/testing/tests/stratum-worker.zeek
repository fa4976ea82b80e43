# @TEST-DOC: What the miner calls the machine; a mail address is no worker; text of peers is cut.
# @TEST-EXEC: zeek -C -r $TRACES/workers.pcap $PACKAGE/stratum.zeek %INPUT
# @TEST-EXEC: zeek-cut protocol login worker <mining.log >output
# @TEST-EXEC: zeek-cut agent <mining.log | awk '{ print length($0) }' >>output
# @TEST-EXEC: btest-diff output
