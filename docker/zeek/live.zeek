##! In addition on an interface: Minecanary's feed comes back, logs are rotated, and stats.log shows that Zeek is alive.

@load /minecanary/local.zeek
@load policy/misc/stats
@load policy/frameworks/intel/seen
@load policy/frameworks/intel/do_expire
@load policy/frameworks/intel/do_notice
@load /minecanary/scripts/intel-pools

# Both processes publish; a pool is gone when neither lists it any more. No tombstones: they need the removal script.
redef Intel::read_files += {
	"/feed/1/intel.dat",
	"/feed/2/intel.dat"
};
redef Intel::item_expiration = 10min;
redef Mining::pools_file = "/feed/1/pools.dat";

redef Stats::report_interval = 1min;
redef Log::default_rotation_interval = 1hr;
