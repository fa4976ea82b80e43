package feed_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/minecanary/minecanary"
)

// zeekRow is a data line as Zeek's ASCII reader hands it to the scripts: a column that is unset is missing.
type zeekRow map[string]string

// zeekRead reads a file by the rules observed on Zeek 8.0.10 (zeek-scripts/README.md): the first line is the header; later
// lines that start with # are skipped, except those that start with "#fields" and a tab, whose rest is data; empty lines
// are skipped; fields are separated by one tab; "-" is unset; \xHH is decoded and nothing else is an escape.
func zeekRead(file string) ([]zeekRow, error) {
	lines := strings.Split(file, "\n")
	header, ok := strings.CutPrefix(lines[0], "#fields\t")
	if !ok {
		return nil, fmt.Errorf("no header: %q", lines[0])
	}
	columns := strings.Split(header, "\t")
	var rows []zeekRow
	for i, line := range lines[1:] {
		line = strings.TrimSuffix(line, "\r")
		if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
			line = rest
		} else if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != len(columns) {
			return nil, fmt.Errorf("line %d has %d fields, the header %d: %q", i+2, len(fields), len(columns), line)
		}
		row := zeekRow{}
		for j, f := range fields {
			if len(f) > 256 {
				return nil, fmt.Errorf("line %d: %s has %d bytes", i+2, columns[j], len(f))
			}
			if f != "-" {
				row[columns[j]] = zeekUnescape(f)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func zeekUnescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// zeekPort reads Zeek's spelling of a port.
func zeekPort(s string) (uint16, minecanary.Transport, error) {
	num, proto, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(num, 10, 16)
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("bad port %q", s)
	}
	switch proto {
	case "tcp":
		return uint16(n), minecanary.TCP, nil
	case "udp":
		return uint16(n), minecanary.UDP, nil
	}
	return 0, 0, fmt.Errorf("bad port %q", s)
}

// poolsOf reads a pools file into what pools.zeek would have in its table.
func poolsOf(file string) (map[minecanary.Endpoint]zeekRow, error) {
	rows, err := zeekRead(file)
	if err != nil {
		return nil, err
	}
	out := map[minecanary.Endpoint]zeekRow{}
	for _, row := range rows {
		addr, err := netip.ParseAddr(row["host"])
		if err != nil {
			return nil, err
		}
		port, transport, err := zeekPort(row["p"])
		if err != nil {
			return nil, err
		}
		for _, required := range []string{"coin", "protocol"} {
			if row[required] == "" {
				return nil, fmt.Errorf("%v has no %s", row, required)
			}
		}
		if v, ok := row["verified"]; ok {
			if _, err := strconv.ParseFloat(v, 64); err != nil {
				return nil, err
			}
		}
		ep := minecanary.NewEndpoint(addr, port, transport)
		if _, twice := out[ep]; twice {
			return nil, fmt.Errorf("%s is there twice", ep)
		}
		out[ep] = row
	}
	return out, nil
}

// intelOf reads an intel file: ports by address.
func intelOf(file string) (map[netip.Addr]zeekRow, error) {
	rows, err := zeekRead(file)
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]zeekRow{}
	for _, row := range rows {
		addr, err := netip.ParseAddr(row["indicator"])
		if err != nil {
			return nil, err
		}
		for column, want := range map[string]string{
			"indicator_type": "Intel::ADDR", "meta.source": "minecanary", "meta.do_notice": "T",
		} {
			if row[column] != want {
				return nil, fmt.Errorf("%s is %q", column, row[column])
			}
		}
		if row["meta.desc"] == "" {
			return nil, fmt.Errorf("%s has no description", addr)
		}
		if _, twice := out[addr]; twice {
			return nil, fmt.Errorf("%s is there twice", addr)
		}
		out[addr] = row
	}
	return out, nil
}
