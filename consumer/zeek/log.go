package zeek

import "strings"

// log says which of Zeek's logs a line is of.
type log uint8

const (
	// logNone: nothing speaks for a Zeek log.
	logNone log = iota
	logConn
	logInterim
	logConnLong
	logSSL
	logDNS
	logMining
	logOther
)

// logNames holds the paths Zeek gives the logs.
var logNames = [...]string{
	logConn: "conn", logInterim: "conn_interim", logConnLong: "conn_long", logSSL: "ssl", logDNS: "dns", logMining: "mining",
	logOther: "",
}

// logOf gives the log of a path. A second filter of one log gets the path "conn-2" from Zeek.
func logOf(path []byte) log {
	switch string(BasePath(path)) {
	case "":
		return logNone
	case "conn":
		return logConn
	case "conn_interim":
		return logInterim
	case "conn_long":
		return logConnLong
	case "ssl":
		return logSSL
	case "dns":
		return logDNS
	case "mining":
		return logMining
	}
	return logOther
}

// Skips tells whether lines of the log of this path are of no use, and the reason they are skipped for.
func Skips(path string) (reason string, ok bool) {
	if logOf([]byte(path)) == logOther {
		return ReasonOtherLog, true
	}
	return "", false
}

// Known gives the name of the log of a path (without the "-2" of a second filter) if it is one of Minecanary's Zeek
// package, of package zeek-long-connections, or of those that come with Zeek
// (docs.zeek.org/en/master/script-reference/log-files.html); else "".
func Known(path []byte) string { return known[string(BasePath(path))] }

// known holds the names by themselves.
var known = func() map[string]string {
	m := make(map[string]string)
	for name := range strings.FieldsSeq(`
		conn conn_interim conn_long mining
		dce_rpc dhcp dnp3 dns ftp http irc kerberos ldap ldap_search modbus modbus_register_change mqtt_connect
		mqtt_publish mqtt_subscribe mysql ntlm ntp postgresql quic radius rdp redis rfb sip smb_cmd smb_files smb_mapping
		smtp snmp socks ssh ssl syslog tunnel websocket
		files ocsp pe x509 netcontrol netcontrol_drop netcontrol_shunt netcontrol_catch_release openflow
		intel notice notice_alarm signatures traceroute known_certs known_hosts known_modbus known_services software
		dpd analyzer analyzer_debug weird weird_stats unknown_protocols
		broker capture_loss cluster config loaded_scripts packet_filter print prof reporter stats telemetry
		telemetry_histogram stderr stdout`) {
		m[name] = name
	}
	return m
}()

// BasePath cuts a dash and digits from the end of a path: Zeek gives a second filter of the log conn the path "conn-2".
func BasePath(path []byte) []byte {
	n := len(path)
	for n > 0 && path[n-1]-'0' <= 9 {
		n--
	}
	if n > 0 && n < len(path) && path[n-1] == '-' {
		return path[:n-1]
	}
	return path
}

// shape guesses the log from the columns that are set, for lines that do not name it.
func shape(has set) log {
	const (
		interim = 1<<fieldSeq | 1<<fieldSliceEnd
		conn    = 1<<fieldConnState | 1<<fieldOrigPackets | 1<<fieldOrigIPBytes
		ssl     = 1<<fieldResumed | 1<<fieldEstablished
		dns     = 1<<fieldTransID | 1<<fieldQuery | 1<<fieldQueryType
		mining  = 1<<fieldSeen | 1<<fieldTurned
		other   = 1<<fieldTS | 1<<fieldOrigHost
	)
	switch {
	case has&interim == interim:
		return logInterim
	case has&conn != 0:
		return logConn
	case has&ssl == ssl:
		return logSSL
	case has.has(fieldRejected) && has&dns != 0:
		return logDNS
	case has&mining == mining:
		return logMining
	case has&other != 0:
		return logOther
	}
	return logNone
}
