# @TEST-DOC: Connections of our own prober are no matches of the Intel framework.
# @TEST-EXEC: zeek -C -r $TRACES/prober.pcap $PACKAGE/intel-pools.zeek %INPUT
# @TEST-EXEC: zeek-cut id.orig_h id.resp_h seen.indicator seen.where pool_port pool_coin <intel.log >output
# @TEST-EXEC: zeek-cut note src dst msg <notice.log >>output
# @TEST-EXEC: btest-diff output
redef Intel::read_files += {"feed.dat"};
redef Mining::probers += {192.0.2.7/32};

event zeek_init()
	{
	suspend_processing();
	}

event Input::end_of_data(name: string, source: string)
	{
	if ( /^intel-/ in name )
		continue_processing();
	}

@TEST-START-FILE feed.dat
#fields	indicator	indicator_type	meta.source	meta.desc	meta.url	meta.do_notice	meta.pool_ports	meta.pool_coin
198.51.100.1	Intel::ADDR	minecanary	Mining pool	-	T	3333	bitcoin
198.51.100.2	Intel::ADDR	minecanary	Mining pool	-	T	3333	bitcoin
198.51.100.3	Intel::ADDR	minecanary	Mining pool	-	T	3333	bitcoin
198.51.100.4	Intel::ADDR	minecanary	Mining pool	-	F	3333	bitcoin
@TEST-END-FILE
