##! Tells by a JSON object per line what a sensor has once it has read the feed.
##! Packets wait for that; without packets this is the end.

@load base/frameworks/input
@load base/frameworks/intel

module Feed;

export {
	## The number of files that have to be read.
	const files = 1 &redef;

	## Files that take the place of others once all are read, and are read then:
	## the next state of the feed. Not with a trace: while its packets wait Zeek's
	## clock stands still, and no file is looked at again.
	const successors: table[string] of string = {} &redef;
}

type Took: record {
	what: string;
	seconds: double;
};

@ifdef ( Mining::pools )
type Listed: record {
	what: string;
	key: string;
	pool: Mining::Pool;
};

type Named: record {
	what: string;
	key: string;
	name: Mining::PoolName;
};
@endif

# The store of the Intel framework is seen from within its module only.
module Intel;

export {
	global tell: function();
}

type Indicator: record {
	what: string;
	key: string;
	source: string;
	meta: Intel::MetaData;
};

function tell()
	{
	for ( host, metas in data_store$host_data )
		for ( source, meta in metas )
			print to_json(Indicator($what="Intel::ADDR", $key=cat(host), $source=source,
			    $meta=meta));

	for ( [text, kind], texts in data_store$string_data )
		for ( origin, about in texts )
			print to_json(Indicator($what=cat(kind), $key=text, $source=origin,
			    $meta=about));
	}

module Feed;

export {
	## The streams are read; what they brought is in the tables by now.
	global all_read: event();
}

global reads = 0;
global wanted = 0;
global began: time;

event zeek_init()
	{
	wanted = files;
	began = current_time();

	if ( reading_traces() )
		suspend_processing();
	}

event Input::end_of_data(name: string, source: string)
	{
	if ( ++reads == wanted )
		event Feed::all_read();
	}

event Feed::all_read()
	{
	if ( wanted == files )
		print to_json(Took($what="took", $seconds=interval_to_double(current_time() -
		    began)));

	if ( wanted == files && |successors| > 0 )
		{
		wanted += |successors|;

		for ( old, successor in successors )
			rename(successor, old);

		return;
		}

	Intel::tell();

@ifdef ( Mining::pools )
	for ( [host, p], pool in Mining::pools )
		print to_json(Listed($what="pool", $key=fmt("%s %s", host, p), $pool=pool));

	for ( name, about in Mining::pool_names )
		print to_json(Named($what="name", $key=name, $name=about));
@endif

	if ( reading_traces() )
		continue_processing();
	else
		terminate();
	}
