# @TEST-DOC: Names of pools in DNS and TLS, from the option and from the file: once for a client and domain, whatever the case; not for the prober.
# @TEST-EXEC: zeek -C -r $TRACES/names.pcap $PACKAGE %INPUT Mining::names_file=names.dat
# @TEST-EXEC: zeek-cut note src msg sub <notice.log >output
# @TEST-EXEC: btest-diff output
redef Mining::probers += {192.0.2.7/32};
redef Mining::pool_domains += {["Pool.Example"] = "monero"};

event zeek_init()
	{
	suspend_processing();
	}

event Input::end_of_data(name: string, source: string)
	{
	if ( name == "mining-names" )
		continue_processing();
	}

@TEST-START-FILE names.dat
#fields	name	coin
other.example	bitcoin
@TEST-END-FILE
