##! What the scripts of this package share: whose connections they leave alone,
##! and how long a notice is not repeated.

module Mining;

export {
	## Addresses that Minecanary asks from, as this sensor sees them: its prober
	## talks like a miner, and looks up names of pools if catalogue.resolve is on.
	## Connections with one of them at either end get no line in mining.log and
	## raise no notice. An address that clients share (of address translation, a
	## proxy or a resolver) hides them too. conn.log and conn_interim.log stay
	## complete; Minecanary has network.probers for them.
	option probers: set[subnet] = {};

	## Do not repeat a notice for the same client, server and port, or the same
	## client and name, for this long.
	option suppress = 6hrs;

	## Cut what peers wrote (agent, login, worker, names) to so many bytes in logs
	## and notices.
	option max_text: count = 256;

	## T if one end of the connection is in :zeek:see:`Mining::probers`.
	global by_prober: function(id: conn_id): bool;

	## The text, not longer than :zeek:see:`Mining::max_text`.
	global cut: function(text: string): string;
}

function by_prober(id: conn_id): bool
	{
	return id$orig_h in probers || id$resp_h in probers;
	}

function cut(text: string): string
	{
	return |text| > max_text ? text[0:max_text] : text;
	}
