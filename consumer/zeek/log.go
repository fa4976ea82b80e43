package zeek

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

// logNames holds the paths Zeek gives the logs, and the reason a line of them is skipped for.
var logNames = [...]struct{ path, reason string }{
	logConn:     {path: "conn"},
	logInterim:  {path: "conn_interim"},
	logConnLong: {"conn_long", ReasonConnLong},
	logSSL:      {"ssl", ReasonSSL},
	logDNS:      {"dns", ReasonDNS},
	logMining:   {"mining", ReasonMining},
	logOther:    {"", ReasonOtherLog},
}

// logOf gives the log of a path. A second filter of one log gets the path "conn-2" from Zeek.
func logOf(path []byte) log {
	switch string(basePath(path)) {
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

// basePath cuts a dash and digits from the end of a path.
func basePath(path []byte) []byte {
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
		dns     = 1<<fieldRejected | 1<<fieldTransID
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
	case has&dns == dns:
		return logDNS
	case has&mining == mining:
		return logMining
	case has&other != 0:
		return logOther
	}
	return logNone
}
