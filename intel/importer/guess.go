package importer

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/minecanary/minecanary/intel/catalog"
)

// guessLines is how many lines Guess looks at, and guessLine how many bytes of each.
const (
	guessLines = 50
	guessLine  = 1 << 10
)

// Guess tells the format of a file by its content; ok is false if it could be several or is none.
func Guess(data []byte) (f Format, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if start := bytes.TrimSpace(data); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return guessJSON(start)
	}
	var lines []string
	for line := range bytes.Lines(data[:min(len(data), MaxData)]) {
		text, _, _ := bytes.Cut(line, []byte("#"))
		if text = bytes.TrimSpace(text); len(text) > 0 {
			lines = append(lines, begin(string(text)))
		}
		if len(lines) == guessLines {
			break
		}
	}
	if len(lines) == 0 {
		return "", false
	}
	if key, _, found := strings.Cut(lines[0], ":"); lines[0] == "---" || found && catalogueKey(key) {
		return Catalogue, true
	}
	if header, err := csv.NewReader(strings.NewReader(lines[0])).Read(); err == nil && len(header) > 1 {
		switch {
		case all(header, func(h string) bool { return smashedColumns[columnName(h)] != nil }) && strings.Contains(lines[0], "fqdn"):
			return SmashedCSV, true
		case all(header, func(h string) bool { return ownColumns[columnName(h)] != nil }) &&
			slices.ContainsFunc(header, func(h string) bool { return isHost(columnName(h)) }):
			return CSV, true
		}
	}
	switch {
	case all(lines, hostsLine):
		return Hosts, true
	case all(lines, listLine) || all(lines, entriesLine):
		return List, true
	}
	return "", false
}

// begin gives what is looked at of a line: no more than guessLine bytes, and no half field at the end.
func begin(line string) string {
	if len(line) <= guessLine {
		return line
	}
	line = line[:guessLine]
	if i := strings.LastIndexAny(line, separators); i > 0 {
		line = line[:i]
	}
	return line
}

func all(s []string, is func(string) bool) bool {
	return !slices.ContainsFunc(s, func(v string) bool { return !is(v) })
}

// catalogueKey tells whether a catalogue file may begin with the key.
func catalogueKey(key string) bool {
	return slices.Contains([]string{
		"id", "name", "url", "operator", "kind", "note", "source", "as_of", "confidence", "servers", "pools", "coins", "removed",
	}, key)
}

// hostsLine tells whether a line is an address of nowhere and names.
func hostsLine(line string) bool {
	fields := strings.Fields(line)
	addr, err := netip.ParseAddr(fields[0])
	return err == nil && len(fields) > 1 && (addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || ofMachine(fields[1]))
}

// listLine tells whether a line looks like one entry of a list, be it right or not.
func listLine(line string) bool {
	return !strings.ContainsAny(line, " \t,;\"") && strings.ContainsAny(line, ".:")
}

// entriesLine tells whether a line has entries of a list and nothing else, one or several. A line that may be one of a hosts
// file, an address and names, is none; nor is one with the address of a page, which may stand beside a server as its site.
func entriesLine(line string) bool {
	fields := fieldsOf(line)
	names, addresses := 0, 0
	for _, f := range fields {
		scheme, _, found := strings.Cut(f, "://")
		if web := strings.ToLower(scheme); found && (web == "http" || web == "https") {
			return false
		}
		host, port, _, err := hostPort(f)
		if err != nil {
			return false
		}
		_, err = netip.ParseAddr(host)
		switch {
		case err != nil && !catalog.IsName(catalog.CanonicalName(host)):
			return false
		case port != 0 || found:
		case err == nil:
			addresses++
		default:
			names++
		}
	}
	return len(fields) > 0 && (names == 0 || addresses == 0)
}

// guessJSON looks at the first keys.
func guessJSON(data []byte) (f Format, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	for range 3 {
		t, err := dec.Token()
		if err != nil {
			return "", false
		}
		switch key, _ := t.(string); strings.ToLower(key) {
		case "":
			continue
		case "event", "response":
			return MISP, true
		case "pools", "servers", "ports", "cryptos", "addresses":
			return SmashedJSON, true
		default:
			return "", false
		}
	}
	return "", false
}
