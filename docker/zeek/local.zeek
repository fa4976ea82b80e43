##! Zeek for Minecanary: JSON logs with the log's name and the sensor's in each record (_path, _system_name), so that
##! whatever ships the lines may ship them as they are.

@load policy/tuning/json-logs
@load /minecanary/scripts

module MinecanarySensor;

export {
	type Extension: record {
		path: string &log;
		system_name: string &log;
	};
}

function extension(path: string): Extension
	{
	local name = getenv("SENSOR_NAME");
	return Extension($path=path, $system_name=name == "" ? "zeek" : name);
	}

redef Log::default_ext_func = extension;

# A quiet miner is silent for longer than the default of 5 minutes; see zeek-scripts/README.md.
redef tcp_inactivity_timeout = 30min;
