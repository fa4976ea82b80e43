#!/bin/sh
# run.sh pcap FILE | run.sh live INTERFACE: Zeek's logs go to a folder of their own under /logs.
set -eu
mode=$1 from=$2
case $mode in
pcap)
	dir=/logs/pcap-$(date +%s)
	mkdir -p "$dir" && cd "$dir"
	# -C: captures of a sending host have no checksums yet.
	exec zeek -C -r "/pcap/$from" /minecanary/local.zeek
	;;
live)
	mkdir -p /logs/live && cd /logs/live
	# Rotated logs were shipped long before they are a day old; the disk is bounded by that.
	while sleep 600; do
		find /logs -name '*.log' -mmin +1440 -delete
	done &
	exec zeek -i "$from" /minecanary/live.zeek
	;;
*)
	echo "run.sh: $mode is neither pcap nor live" >&2
	exit 2
	;;
esac
