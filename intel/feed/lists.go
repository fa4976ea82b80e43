package feed

import (
	"strconv"

	"github.com/minecanary/minecanary"
)

// addressList gives one address to a line.
func (s *set) addressList() []byte {
	b := make([]byte, 0, listLine*len(s.addrs))
	for entries := range s.byAddr() {
		b = entries[0].Endpoint.Addr.AppendTo(b)
		b = append(b, '\n')
	}
	return b
}

// endpointList gives address and port, one to a line, UDP with "/udp" behind it as minecanary.Endpoint has it.
func (s *set) endpointList() []byte {
	b := make([]byte, 0, listLine*len(s.addrs))
	for _, e := range s.addrs {
		b = appendHostPort(b, e.Endpoint.Addr, e.Endpoint.Port)
		if e.Endpoint.Transport != minecanary.TCP {
			b = append(b, '/')
			b = append(b, e.Endpoint.Transport.String()...)
		}
		b = append(b, '\n')
	}
	return b
}

// domainList gives one name to a line.
func (s *set) domainList() []byte {
	b := make([]byte, 0, listLine*len(s.names))
	for entries := range s.byName() {
		b = append(b, entries[0].Name...)
		b = append(b, '\n')
	}
	return b
}

// csvHeader has the columns of the table. Those that are not known of an entry are empty; a row has an address or a name.
const csvHeader = "address,port,transport,name,coin,dialect,tls,first,verified,expires,confidence,hosts,url,reason\r\n"

// csvRow is what one row takes, for the first guess of the file's size.
const csvRow = 170

// csv gives a table as RFC 4180 has it.
func (s *set) csv() []byte {
	b := s.room(len(csvHeader), csvRow, 1)
	b = append(b, csvHeader...)
	return rows(b, s.all(), func(b []byte, _ int, e *Entry) []byte { return appendRow(b, e) })
}

// appendRow adds the row of an entry.
func appendRow(b []byte, e *Entry) []byte {
	if e.Name == "" {
		b = e.Endpoint.Addr.AppendTo(b)
	}
	b = append(b, ',')
	b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
	b = append(b, ',')
	b = append(b, e.Endpoint.Transport.String()...)
	b = append(b, ',')
	b = append(b, e.Name...)
	b = append(b, ',')
	b = appendCell(b, e.Coin)
	b = append(b, ',')
	b = appendCell(b, e.Dialect)
	b = append(b, ',')
	b = strconv.AppendBool(b, e.TLS)
	b = append(b, ',')
	b = appendDated(b, e.First, "", "")
	b = append(b, ',')
	b = appendDated(b, e.Verified, "", "")
	b = append(b, ',')
	b = appendDated(b, e.Expires, "", "")
	b = append(b, ',')
	if e.Confidence > 0 {
		b = strconv.AppendInt(b, int64(min(e.Confidence, maxConfidence)), 10)
	}
	b = append(b, ',')
	if e.Hosts >= 0 {
		b = strconv.AppendInt(b, int64(e.Hosts), 10)
	}
	b = append(b, ',')
	b = appendCell(b, wholeURL(e.URL))
	b = append(b, ',')
	b = appendCell(b, e.Reason)
	return append(b, '\r', '\n')
}

// appendCell adds text in quotes. An apostrophe comes before what a spreadsheet would take for a formula, and a comma
// takes the place of a semicolon, at which a spreadsheet of some countries would cut the row, quotes or not.
func appendCell(b []byte, s string) []byte {
	plain := isPlain(s)
	if !plain {
		s = clean(s)
	}
	if s == "" {
		return b
	}
	b = append(b, '"')
	switch s[0] {
	case '=', '+', '-', '@':
		b = append(b, '\'')
	}
	if plain {
		return append(append(b, s...), '"')
	}
	from := 0
	for i := range len(s) {
		switch s[i] {
		case '"':
			b = append(append(b, s[from:i]...), '"')
			from = i
		case ';':
			b = append(append(b, s[from:i]...), ',')
			from = i + 1
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
