##! What to add to site/local.zeek; docs/zeek.md goes through it. Paths and
##! addresses are examples.

# JSON, as shippers and Minecanary like it best (it reads Zeek's TSV too).
@load policy/tuning/json-logs

# interim.zeek, pools.zeek, stratum.zeek. "@load packages" does it as well.
@load packages/minecanary

# Who is inside. Zeek counts private addresses as local by itself.
redef Site::local_nets += {
	192.0.2.0/24,
	[2001:db8:1::]/48
};

# A connection met without its handshake belongs to whoever speaks first, and pools
# do that: these ports are the server's.
redef likely_server_ports += {
	3333/tcp,
	4444/tcp,
	5555/tcp,
	7777/tcp,
	14444/tcp
};

# A quiet miner is silent for longer than the default of 5 minutes; then its
# connection would end in the logs, and the next packet begin another.
redef tcp_inactivity_timeout = 30min;

# Where Minecanary asks from, as this sensor sees it.
redef Mining::probers += {192.0.2.7/32};

# Its feed, by address and port (feed.dir/pools.dat). In a cluster: on each host.
redef Mining::pools_file = "/var/lib/minecanary/feed/pools.dat";

# Names of proven pools whose addresses others share (feed.dir/names.dat).
redef Mining::names_file = "/var/lib/minecanary/feed/names.dat";

# Its feed for the Intel framework (feed.dir/intel.dat), on the manager. What is not
# written again within item_expiration is gone: Minecanary rewrites every minute.
@load policy/frameworks/intel/seen
@load policy/frameworks/intel/do_notice
@load policy/frameworks/intel/do_expire
@load packages/minecanary/intel-pools

redef Intel::read_files += {"/var/lib/minecanary/feed/intel.dat"};
redef Intel::item_expiration = 10min;

# Options changed while Zeek runs: lines of "Mining::probers<TAB>192.0.2.7/32". This
# file and those of the feed need not be there yet: Zeek warns, and reads them when
# they are.
redef Config::config_files += {"/etc/zeek/minecanary.dat"};
