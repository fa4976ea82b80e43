# @TEST-DOC: Our own prober talks like a miner, either way round: no line, no notice, no service. The miners beside it are found.
# @TEST-EXEC: zeek -C -r $TRACES/prober.pcap $PACKAGE %INPUT
# @TEST-EXEC: zeek-cut id.orig_h id.resp_h protocol turned <mining.log >output
# @TEST-EXEC: zeek-cut note src dst p <notice.log | sort >>output
# @TEST-EXEC: zeek-cut id.orig_h id.resp_h service <conn.log | sort >>output
# @TEST-EXEC: btest-diff output
redef Mining::probers += {192.0.2.7/32};

event zeek_init()
	{
	local servers = vector(198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4);

	for ( i in servers )
		Mining::pools[servers[i], 3333/tcp] = Mining::Pool($coin="bitcoin",
		    $protocol="stratum-v1");
	}
