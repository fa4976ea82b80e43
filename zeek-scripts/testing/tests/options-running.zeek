# @TEST-DOC: Options that change while Zeek runs: the prober is named after its first connection, a domain at start.
# @TEST-EXEC: zeek -C -r $TRACES/prober.pcap $PACKAGE %INPUT
# @TEST-EXEC: zeek-cut id.orig_h id.resp_h protocol <mining.log >output
# @TEST-EXEC: zeek -C -r $TRACES/names.pcap $PACKAGE %INPUT
# @TEST-EXEC: zeek-cut note src msg sub <notice.log >>output
# @TEST-EXEC: btest-diff output

# After the package's own, which watches the option from there on.
event zeek_init() &priority=-10
	{
	Option::set("Mining::pool_domains", table(["POOL.Example"] = "monero"));
	}

event new_connection(c: connection)
	{
	if ( c$id$orig_h == 10.1.0.2 )
		Option::set("Mining::probers", set(192.0.2.7/32));
	}
