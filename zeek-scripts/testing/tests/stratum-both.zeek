# @TEST-DOC: A miner that says all in its first line, as XMRig does: the line of the log waits for the pool.
# @TEST-EXEC: zeek -C -r $TRACES/mining_long.pcap $PACKAGE/stratum.zeek %INPUT
# @TEST-EXEC: zeek-cut protocol seen turned method agent <mining.log | sort | uniq -c | sed 's/^ *//' >output
# @TEST-EXEC: btest-diff output
