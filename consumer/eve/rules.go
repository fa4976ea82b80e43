package eve

import "slices"

// The numbers of Minecanary's own rules for Suricata, which the rule files of docs/suricata.md use.
const (
	// MeterSID is the rule that fires every few minutes for connections that run on, at a packet to the server.
	MeterSID = 9000001
	// MeterReversedSID is its twin at a packet to the client, for connections whose start Suricata has not seen.
	MeterReversedSID = 9000002
	// FirstPassiveSID and LastPassiveSID bound the rules that know a mining protocol by a line of it (PassiveRules).
	FirstPassiveSID = 9000010
	LastPassiveSID  = 9000039
)

// HandshakeFlowbit is set by a rule of ours on connections whose handshake Suricata saw, so that the flow's source is the
// client beyond doubt. Suricata repeats it in metadata.flowbits of each event of the flow.
const HandshakeFlowbit = "minecanary.handshake"

// handshakeMark is how it stands in the list.
const handshakeMark = `"` + HandshakeFlowbit + `"`

// PassiveRule is a rule of ours that knows a mining protocol by a line of the client or the server. Its alert comes with
// the packet that holds the line: the source is who said it.
type PassiveRule struct {
	SID uint32
	// Protocol is the name of the protocol, as mining.log has it, or else as the prober's verdicts do.
	Protocol string
	// Server tells that the line is one of the server.
	Server bool
}

// PassiveRules gives all of them, by SID.
func PassiveRules() []PassiveRule { return slices.Clone(passive[:]) }

var passive = [...]PassiveRule{
	{9000010, "stratum-v1", false},
	{9000011, "stratum-v1", true},
	{9000012, "monero", false},
	{9000013, "monero", true},
	{9000014, "ethproxy", false},
	{9000015, "ethproxy", true},
	{9000016, "zcash", false},
	{9000017, "zcash", true},
	{9000018, "ethereum-stratum", false}, // EthereumStratum/1.0.0
	{9000019, "ethereum-stratum", true},
	{9000020, "grin", false},
	{9000021, "grin", true},
	{9000022, "beam", false},
	{9000023, "beam", true},
	{9000024, "eth-getwork", false}, // from here on HTTP
	{9000025, "eth-getwork", true},
	{9000026, "getwork", false},
	{9000027, "getwork", true},
	{9000028, "getwork", false}, // a header of mining programs
	{9000029, "getwork", true},  // a header of pools
	{9000030, "getblocktemplate", false},
}

// passiveRule gives the rule of a number.
func passiveRule(sid uint64) (PassiveRule, bool) {
	if sid < FirstPassiveSID || sid >= FirstPassiveSID+uint64(len(passive)) {
		return PassiveRule{}, false
	}
	return passive[sid-FirstPassiveSID], true
}
