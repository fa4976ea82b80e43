package importer

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// guessLines is how many lines Guess looks at.
const guessLines = 50

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
			lines = append(lines, string(text[:min(len(text), 1<<10)]))
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
	case all(lines, listLine):
		return List, true
	}
	return "", false
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
