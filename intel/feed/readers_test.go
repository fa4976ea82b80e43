package feed_test

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary/intel/feed"
)

// A reader reads a form's files as strictly as its real reader could, and tells by sorted words what it would act on:
// "addr 1.2.3.4", "endpoint 1.2.3.4:3333/tcp", "name pool.example", "dns pool.example", "gone 1.2.3.4". A word is there as
// often as the reader met it.
type reader func(files map[string]string) ([]string, error)

var readers = map[feed.Format]reader{
	feed.ZeekIntel:           one("intel.dat", readIntel),
	feed.ZeekIntelRemoval:    one("intel-removal.dat", readIntel),
	feed.ZeekPools:           one("pools.dat", readPools),
	feed.ZeekNames:           one("names.dat", readNames),
	feed.SuricataRules:       readRules,
	feed.SuricataDataset:     readDataset,
	feed.SuricataDatasetJSON: readDatasetJSON,
	feed.SuricataIPRep:       readIPRep,
	feed.Addresses:           one("addresses.txt", readAddresses),
	feed.Endpoints:           one("endpoints.txt", readEndpoints),
	feed.Domains:             one("domains.txt", readDomains),
	feed.CSV:                 one("pools.csv", readCSV),
	feed.JSON:                one("pools.json", readJSON),
	feed.STIX:                one("stix.json", readSTIX),
	feed.MISP:                readMISP,
	feed.RPZ:                 one("rpz.zone", readRPZ),
}

func one(name string, read func(string) ([]string, error)) reader {
	return func(files map[string]string) ([]string, error) {
		data, ok := files[name]
		if !ok || len(files) != 1 {
			return nil, fmt.Errorf("want %s alone", name)
		}
		return read(data)
	}
}

// rows splits a file into lines that all end with the given bytes.
func rows(data, end string) ([]string, error) {
	if data == "" {
		return nil, nil
	}
	rest, ok := strings.CutSuffix(data, end)
	if !ok {
		return nil, errors.New("the last line has no end")
	}
	lines := strings.Split(rest, end)
	for i, l := range lines {
		if strings.ContainsFunc(l, func(r rune) bool { return r != '\t' && (r < 0x20 || r > 0x7e) }) {
			return nil, fmt.Errorf("line %d: a byte that is not printable: %q", i+1, l)
		}
	}
	return lines, nil
}

// each reads the lines of a file.
func each(data string, read func(line string) (string, error)) ([]string, error) {
	lines, err := rows(data, "\n")
	if err != nil {
		return nil, err
	}
	var out []string
	for i, l := range lines {
		word, err := read(l)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %q", i+1, err, l)
		}
		out = append(out, word)
	}
	return out, nil
}

// address reads the canonical spelling of an address and no other.
func address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err == nil && (a.String() != s || a.Is4In6() || a.Zone() != "") {
		err = fmt.Errorf("%s is not the canonical spelling", s)
	}
	return a, err
}

func portNumber(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && (n == 0 || strconv.FormatUint(n, 10) != s) {
		err = fmt.Errorf("bad port %q", s)
	}
	return s, err
}

var hostPattern = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+([a-z]{2,63}|xn--[a-z0-9-]{1,59})$`)

func host(s string) (string, error) {
	if len(s) > 253 || !hostPattern.MatchString(s) {
		return "", fmt.Errorf("%q is no host name", s)
	}
	return s, nil
}

func readIntel(data string) ([]string, error) {
	if _, err := rows(data, "\n"); err != nil {
		return nil, err
	}
	parsed, err := zeekRead(data)
	if err != nil {
		return nil, err
	}
	state := map[string]string{}
	for _, row := range parsed {
		indicator, what := row["indicator"], ""
		switch row["indicator_type"] {
		case "Intel::ADDR":
			if _, err := address(indicator); err != nil {
				return nil, err
			}
			what = "addr"
		case "Intel::DOMAIN":
			if _, err := host(indicator); err != nil {
				return nil, err
			}
			what = "name"
		default:
			return nil, fmt.Errorf("type %q", row["indicator_type"])
		}
		if row["meta.source"] != feed.Source || row["meta.desc"] == "" {
			return nil, fmt.Errorf("source or description of %v", row)
		}
		switch row["meta.do_notice"] + row["meta.remove"] {
		case "T", "TF":
			ports := strings.Split(row["meta.pool_ports"], ",")
			for _, p := range ports {
				if _, err := portNumber(p); err != nil {
					return nil, err
				}
			}
		case "FT":
			what = "gone"
		default:
			return nil, fmt.Errorf("flags of %v", row)
		}
		if _, twice := state[indicator]; twice {
			return nil, fmt.Errorf("%s is there twice", indicator)
		}
		state[indicator] = what + " " + indicator
	}
	var out []string
	for _, word := range state {
		out = append(out, word)
	}
	return out, nil
}

func readPools(data string) ([]string, error) {
	if _, err := rows(data, "\n"); err != nil {
		return nil, err
	}
	pools, err := poolsOf(data)
	var out []string
	for ep := range pools {
		out = append(out, "endpoint "+ep.String())
	}
	return out, err
}

func readNames(data string) ([]string, error) {
	if _, err := rows(data, "\n"); err != nil {
		return nil, err
	}
	parsed, err := zeekRead(data)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range parsed {
		name, err := host(row["name"])
		if err != nil || row["coin"] == "" {
			return nil, fmt.Errorf("%v: %w", row, err)
		}
		out = append(out, "name "+name)
	}
	return out, nil
}

// rule is a rule of Suricata.
type rule struct {
	action, proto, src, srcPort, dst, dstPort string
	options                                   []option
}

type option struct{ key, value string }

func (r rule) get(key string) string {
	for _, o := range r.options {
		if o.key == key {
			return o.value
		}
	}
	return ""
}

var ruleHead = regexp.MustCompile(`^(alert) (tcp|udp|ip|dns|tls) (\$HOME_NET) (any) -> (\S+) (\S+) \((.*)\)$`)

// parseRule reads a rule as Suricata does: options end at a semicolon, quotes or not, and what is escaped is no end.
func parseRule(line string) (rule, error) {
	m := ruleHead.FindStringSubmatch(line)
	if m == nil {
		return rule{}, errors.New("no rule")
	}
	r := rule{m[1], m[2], m[3], m[4], m[5], m[6], nil}
	for rest := m[7]; rest != ""; {
		text, more, ok := strings.Cut(strings.TrimLeft(rest, " "), ";")
		if !ok {
			return rule{}, fmt.Errorf("an option without an end: %q", rest)
		}
		rest = more
		o := option{key: text}
		if key, value, ok := strings.Cut(text, ":"); ok {
			o = option{key, value}
		}
		if strings.ContainsAny(o.value, "\\|") {
			return rule{}, fmt.Errorf("an escape: %q", text)
		}
		switch o.key {
		case "msg", "content":
			inner, open := strings.CutPrefix(o.value, `"`)
			inner, closed := strings.CutSuffix(inner, `"`)
			if !open || !closed || strings.Contains(inner, `"`) {
				return rule{}, fmt.Errorf("quotes: %q", text)
			}
			o.value = inner
		case "sid", "rev", "bsize", "classtype", "metadata", "threshold", "dataset", "iprep":
			if strings.Contains(o.value, `"`) {
				return rule{}, fmt.Errorf("quotes: %q", text)
			}
		case "dns.query", "tls.sni", "ip.dst", "nocase", "to_lowercase":
			if o.value != "" {
				return rule{}, fmt.Errorf("a value: %q", text)
			}
		default:
			return rule{}, fmt.Errorf("keyword %q", o.key)
		}
		r.options = append(r.options, o)
	}
	if r.get("classtype") != "coin-mining" || r.get("rev") != "1" || !strings.HasPrefix(r.get("msg"), "MINECANARY mining pool") {
		return rule{}, errors.New("class, rev or message")
	}
	meta := strings.Split(r.get("metadata"), ", ")
	if len(meta) < 2 || meta[0] != "mitre_tactic_id TA0040" || meta[1] != "mitre_technique_id T1496" {
		return rule{}, fmt.Errorf("metadata %q", meta)
	}
	for i, m := range meta {
		key, value, ok := strings.Cut(m, " ")
		if !ok || strings.ContainsAny(value, " ,:()") || (i > 1 && !slices.Contains([]string{"coin", "dialect", "verified"}, key)) {
			return rule{}, fmt.Errorf("metadata %q", m)
		}
	}
	return r, nil
}

// rulesOf reads a file of rules; the sids have to differ and lie in the default range.
func rulesOf(data string) ([]rule, error) {
	lines, err := rows(data, "\n")
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "# Minecanary") {
		return nil, errors.New("no comment at the top")
	}
	var out []rule
	seen := map[string]bool{}
	for _, l := range lines[1:] {
		r, err := parseRule(l)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, l)
		}
		sid, err := strconv.ParseUint(r.get("sid"), 10, 32)
		if err != nil || sid < feed.DefaultSIDBase || sid >= feed.DefaultSIDBase+feed.DefaultSIDCount || seen[r.get("sid")] {
			return nil, fmt.Errorf("sid %s: %w", r.get("sid"), err)
		}
		seen[r.get("sid")] = true
		out = append(out, r)
	}
	return out, nil
}

func readRules(files map[string]string) ([]string, error) {
	rules, err := rulesOf(files["pools.rules"])
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rules {
		switch r.proto {
		case "tcp", "udp":
			a, err := address(strings.Trim(r.dst, "[]"))
			if err != nil {
				return nil, err
			}
			port, err := portNumber(r.dstPort)
			if err != nil {
				return nil, err
			}
			if r.dst != "["+a.String()+"]" || r.get("content") != "" || r.get("dataset") != "" || r.get("iprep") != "" {
				return nil, fmt.Errorf("%v", r)
			}
			word := "endpoint " + netip.AddrPortFrom(a, 0).String()
			word = strings.TrimSuffix(word, "0") + port
			if r.proto == "udp" {
				word += "/udp"
			}
			out = append(out, word)
		case "dns", "tls":
			name, err := host(r.get("content"))
			if err != nil {
				return nil, err
			}
			buffer := map[string]string{"dns": "dns.query", "tls": "tls.sni"}[r.proto]
			if r.dst != "any" || r.dstPort != "any" || r.get("bsize") != strconv.Itoa(len(name)) ||
				!slices.Contains(r.options, option{key: buffer}) || !slices.Contains(r.options, option{key: "nocase"}) {
				return nil, fmt.Errorf("%v", r)
			}
			out = append(out, r.proto+" "+name)
		default:
			return nil, fmt.Errorf("%v", r)
		}
	}
	return out, nil
}

// sets gives which rules look which file up: "ip.dst dataset-addresses.lst".
func sets(data, more string) ([]string, error) {
	rules, err := rulesOf(data)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rules {
		load := ""
		for o := range strings.SplitSeq(r.get("dataset"), ",") {
			if f, ok := strings.CutPrefix(o, "load "); ok {
				load = f
			}
		}
		if !strings.Contains(r.get("dataset"), more) {
			return nil, fmt.Errorf("%v", r)
		}
		out = append(out, r.options[1].key+" "+load)
	}
	slices.Sort(out)
	return out, nil
}

func readDataset(files map[string]string) ([]string, error) {
	got, err := sets(files["dataset.rules"], "")
	if err != nil {
		return nil, err
	}
	if want := []string{"dns.query dataset-names.lst", "ip.dst dataset-addresses.lst", "tls.sni dataset-names.lst"}; !slices.Equal(got, want) {
		return nil, fmt.Errorf("sets are %q", got)
	}
	addrs, err := each(files["dataset-addresses.lst"], readAddress)
	if err != nil {
		return nil, err
	}
	names, err := each(files["dataset-names.lst"], func(l string) (string, error) {
		raw, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil {
			return "", err
		}
		name, err := host(string(raw))
		return "name " + name, err
	})
	return append(addrs, names...), err
}

func readDatasetJSON(files map[string]string) ([]string, error) {
	got, err := sets(files["dataset-json.rules"], "format ndjson,context_key pool,value_key ")
	if err != nil {
		return nil, err
	}
	var want []string
	if files["dataset-json-addresses.ndjson"] != "" {
		want = append(want, "ip.dst dataset-json-addresses.ndjson")
	}
	if files["dataset-json-names.ndjson"] != "" {
		want = append(want, "dns.query dataset-json-names.ndjson", "tls.sni dataset-json-names.ndjson")
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return nil, fmt.Errorf("sets are %q", got)
	}
	var out []string
	for _, file := range []string{"dataset-json-addresses.ndjson", "dataset-json-names.ndjson"} {
		words, err := each(files[file], func(l string) (string, error) {
			if len(l) > 1022 { // Suricata's buffer of a line (DATAJSON_JSON_LENGTH) has room for line feed and NUL
				return "", fmt.Errorf("%d bytes", len(l))
			}
			var row struct {
				IP, Name, Coin, Dialect string
				Verified                *time.Time
				Ports                   []uint16
			}
			if err := strictJSON(l, &row); err != nil {
				return "", err
			}
			if len(row.Ports) == 0 || row.Coin == "" || row.Dialect == "" || (row.IP == "") == (row.Name == "") {
				return "", errors.New("something is missing")
			}
			if row.IP != "" {
				return readAddress(row.IP)
			}
			name, err := host(row.Name)
			return "name " + name, err
		})
		if err != nil {
			return nil, err
		}
		out = append(out, words...)
	}
	return out, nil
}

func readIPRep(files map[string]string) ([]string, error) {
	if files["iprep-categories.txt"] != "1,MinecanaryPool,Proven mining pool\n" {
		return nil, fmt.Errorf("categories %q", files["iprep-categories.txt"])
	}
	rules, err := rulesOf(files["iprep.rules"])
	if err != nil {
		return nil, err
	}
	if len(rules) != 1 || rules[0].get("iprep") != "dst,MinecanaryPool,>,0" {
		return nil, fmt.Errorf("rules %v", rules)
	}
	return each(files["iprep.list"], func(l string) (string, error) {
		fields := strings.Split(l, ",")
		if len(fields) != 3 || fields[1] != "1" {
			return "", errors.New("not three fields")
		}
		if n, err := strconv.Atoi(fields[2]); err != nil || n < 1 || n > 127 {
			return "", fmt.Errorf("score %s: %w", fields[2], err)
		}
		return readAddress(fields[0])
	})
}

func readAddress(l string) (string, error) {
	a, err := address(l)
	return "addr " + a.String(), err
}

func readAddresses(data string) ([]string, error) { return each(data, readAddress) }

func readEndpoints(data string) ([]string, error) {
	return each(data, func(l string) (string, error) {
		ap, err := netip.ParseAddrPort(strings.TrimSuffix(l, "/udp"))
		if err == nil && (ap.String() != strings.TrimSuffix(l, "/udp") || ap.Port() == 0) {
			err = errors.New("not canonical")
		}
		return "endpoint " + l, err
	})
}

func readDomains(data string) ([]string, error) {
	return each(data, func(l string) (string, error) {
		name, err := host(l)
		return "name " + name, err
	})
}

// joined makes the word of an entry that has address or name.
func joined(addr, name, port, transport string) (string, error) {
	if _, err := portNumber(port); err != nil {
		return "", err
	}
	suffix := ""
	switch transport {
	case "udp":
		suffix = "/udp"
	case "tcp":
	default:
		return "", fmt.Errorf("transport %q", transport)
	}
	if name != "" {
		_, err := host(name)
		if addr != "" {
			err = errors.New("address and name")
		}
		return "named " + name + ":" + port + suffix, err
	}
	a, err := address(addr)
	if err != nil {
		return "", err
	}
	if a.Is6() {
		addr = "[" + addr + "]"
	}
	return "endpoint " + addr + ":" + port + suffix, nil
}

func readCSV(data string) ([]string, error) {
	lines, err := rows(data, "\r\n")
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(strings.NewReader(data))
	r.FieldsPerRecord = 14
	table, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(table) == 0 || len(lines) != len(table) || strings.Join(table[0], ",")+"\r\n" != data[:strings.Index(data, "\n")+1] {
		return nil, fmt.Errorf("%d lines, %d rows", len(lines), len(table))
	}
	var out []string
	for i, row := range table[1:] {
		// No spreadsheet finds a formula, whatever it separates cells with.
		for _, cell := range slices.Concat(row, strings.FieldsFunc(lines[i+1], func(r rune) bool { return r == ';' || r == '\t' })) {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				return nil, fmt.Errorf("a formula: %q", cell)
			}
		}
		for _, at := range row[7:10] {
			if _, err := time.Parse(time.RFC3339, at); at != "" && err != nil {
				return nil, err
			}
		}
		word, err := joined(row[0], row[3], row[1], row[2])
		if err != nil {
			return nil, err
		}
		out = append(out, word)
	}
	return out, nil
}

// strictJSON decodes one value with no member that the type does not know, none twice, and nothing behind it.
func strictJSON(data string, v any) error {
	d := json.NewDecoder(strings.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something behind the value")
	}
	return onceEach(json.NewDecoder(strings.NewReader(data)))
}

// onceEach fails if an object has a member twice.
func onceEach(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[any]bool{}
	for d.More() {
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if seen[key] {
				return fmt.Errorf("%v is there twice", key)
			}
			seen[key] = true
		}
		if err := onceEach(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func readJSON(data string) ([]string, error) {
	lines, err := rows(data, "\n")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Version int
		Source  string
		At      time.Time
		Entries []struct {
			Address, Name, Transport, Coin, Dialect, URL, Reason string
			Port                                                 int
			TLS                                                  bool
			First, Verified, Expires                             *time.Time
			Confidence, Hosts                                    *int
		}
	}
	if err := strictJSON(data, &doc); err != nil {
		return nil, err
	}
	if doc.Version != 1 || doc.Source != feed.Source || len(lines) != len(doc.Entries)+2 {
		return nil, fmt.Errorf("%d lines for %d entries of %s", len(lines), len(doc.Entries), doc.Source)
	}
	var out []string
	for _, e := range doc.Entries {
		word, err := joined(e.Address, e.Name, strconv.Itoa(e.Port), e.Transport)
		if err != nil {
			return nil, err
		}
		out = append(out, word)
	}
	return out, nil
}

var uuid5 = `[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`

var (
	stixID      = regexp.MustCompile(`^(bundle|identity|indicator)--` + uuid5 + `$`)
	stixPattern = regexp.MustCompile(`^\[ipv([46])-addr:value = '([0-9a-f.:]+)'\] AND \[network-traffic:dst_ref\.value = '([0-9a-f.:]+)' AND network-traffic:dst_port = (\d+)\]$`)
	stixName    = regexp.MustCompile(`^\[domain-name:value = '([^'\\]+)'\]$`)
	stixLabel   = regexp.MustCompile(`^(coin|dialect):[A-Za-z0-9._-]{1,64}$`)
)

type stixObject struct {
	Type           string `json:"type"`
	Spec           string `json:"spec_version"`
	ID             string `json:"id"`
	CreatedBy      string `json:"created_by_ref"`
	Created        time.Time
	Modified       time.Time
	Name           string
	Class          string `json:"identity_class"`
	DefinitionType string `json:"definition_type"`
	Definition     map[string]string
	Description    string
	Kinds          []string `json:"indicator_types"`
	Pattern        string
	PatternType    string     `json:"pattern_type"`
	From           time.Time  `json:"valid_from"`
	Until          *time.Time `json:"valid_until"`
	Labels         []string
	Confidence     *int
	References     []map[string]string `json:"external_references"`
	Marks          []string            `json:"object_marking_refs"`
}

func readSTIX(data string) ([]string, error) {
	lines, err := rows(data, "\n")
	if err != nil {
		return nil, err
	}
	var bundle struct {
		Type, ID string
		Objects  []stixObject
	}
	if err := strictJSON(data, &bundle); err != nil {
		return nil, err
	}
	if bundle.Type != "bundle" || !stixID.MatchString(bundle.ID) || len(lines) != len(bundle.Objects)+2 {
		return nil, fmt.Errorf("bundle %s with %d objects in %d lines", bundle.ID, len(bundle.Objects), len(lines))
	}
	var out []string
	seen := map[string]bool{}
	for _, o := range bundle.Objects {
		if seen[o.ID] || o.Spec != "2.1" {
			return nil, fmt.Errorf("object %+v", o)
		}
		seen[o.ID] = true
		if o.Type != "indicator" {
			continue
		}
		if !stixID.MatchString(o.ID) || o.PatternType != "stix" || o.From.IsZero() || o.Modified.Before(o.Created) ||
			(o.Until != nil && !o.Until.After(o.From)) || !slices.Equal(o.Marks, []string{"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"}) ||
			(o.Confidence != nil && (*o.Confidence < 1 || *o.Confidence > 100)) || !seen[o.CreatedBy] {
			return nil, fmt.Errorf("indicator %+v", o)
		}
		for _, l := range o.Labels {
			if !stixLabel.MatchString(l) {
				return nil, fmt.Errorf("label %q", l)
			}
		}
		var word string
		if m := stixPattern.FindStringSubmatch(o.Pattern); m != nil && m[2] == m[3] && (m[1] == "6") == strings.Contains(m[2], ":") {
			word, err = joined(m[2], "", m[4], o.Name[strings.LastIndexByte(o.Name, '/')+1:])
		} else if m := stixName.FindStringSubmatch(o.Pattern); m != nil {
			word, err = host(m[1])
			word = "name " + word
		} else {
			return nil, fmt.Errorf("pattern %q", o.Pattern)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, word)
	}
	return out, nil
}

type mispHead struct {
	UUID, Info, Date, Timestamp string
	Threat                      string `json:"threat_level_id"`
	Analysis                    string
	Orgc                        struct{ Name, UUID string }
	Tag                         []struct{ Name, Colour string }
	Published                   bool
	PublishTimestamp            string `json:"publish_timestamp"`
	Attribute                   []struct {
		Type, Value, UUID, Category, Timestamp, Comment string
		Detect                                          bool      `json:"to_ids"`
		Apart                                           bool      `json:"disable_correlation"`
		First                                           time.Time `json:"first_seen"`
		Last                                            time.Time `json:"last_seen"`
	}
}

var uuidPattern = regexp.MustCompile(`^` + uuid5 + `$`)

func readMISP(files map[string]string) ([]string, error) {
	var manifest map[string]mispHead
	if err := strictJSON(files["manifest.json"], &manifest); err != nil {
		return nil, err
	}
	if len(manifest) != 1 || len(files) != 3 {
		return nil, fmt.Errorf("%d events in %d files", len(manifest), len(files))
	}
	var out []string
	for id, head := range manifest {
		if !uuidPattern.MatchString(id) {
			return nil, fmt.Errorf("uuid %q", id)
		}
		var doc struct{ Event mispHead }
		if err := strictJSON(files[id+".json"], &doc); err != nil {
			return nil, err
		}
		ev := doc.Event
		if ev.UUID != id || ev.Info != head.Info || ev.Timestamp != head.Timestamp || ev.Orgc != head.Orgc || !ev.Published {
			return nil, fmt.Errorf("event %v, manifest %v", ev, head)
		}
		lines, err := rows(files[id+".json"], "\n")
		if err != nil {
			return nil, err
		}
		if len(lines) != len(ev.Attribute)+2 {
			return nil, fmt.Errorf("%d lines for %d attributes", len(lines), len(ev.Attribute))
		}
		seen := map[string]bool{}
		values := map[string]bool{}
		for _, a := range ev.Attribute {
			if seen[a.UUID] || !uuidPattern.MatchString(a.UUID) || !a.Detect || a.Category != "Network activity" || a.Comment == "" || a.Last.Before(a.First) {
				return nil, fmt.Errorf("attribute %+v", a)
			}
			seen[a.UUID] = true
			switch a.Type {
			case "ip-dst|port":
				addr, port, _ := strings.Cut(a.Value, "|")
				word, err := joined(addr, "", port, "tcp")
				if err != nil {
					return nil, err
				}
				values[addr] = true
				out = append(out, word)
			case "domain":
				if _, err := host(a.Value); err != nil {
					return nil, err
				}
				values[a.Value] = true
				out = append(out, "name "+a.Value)
			default:
				return nil, fmt.Errorf("type %q", a.Type)
			}
		}
		hashes, err := each(files["hashes.csv"], func(l string) (string, error) {
			sum, event, _ := strings.Cut(l, ",")
			if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 16 || event != id {
				return "", fmt.Errorf("hash: %w", err)
			}
			return sum, nil
		})
		if err != nil {
			return nil, err
		}
		if len(hashes) != len(values) {
			return nil, fmt.Errorf("%d hashes of %d values", len(hashes), len(values))
		}
		for v := range values {
			if !slices.Contains(hashes, md5Hex(v)) {
				return nil, fmt.Errorf("no hash of %s", v)
			}
		}
	}
	return out, nil
}

func readRPZ(data string) ([]string, error) {
	lines, err := rows(data, "\n")
	if err != nil {
		return nil, err
	}
	if len(lines) < 4 || lines[0][0] != ';' || !strings.HasPrefix(lines[1], "$TTL ") || !strings.HasPrefix(lines[2], "@ SOA ") || lines[3] != "@ NS localhost." {
		return nil, errors.New("no head of a zone")
	}
	var out []string
	for _, l := range lines[4:] {
		owner, ok := strings.CutSuffix(l, " CNAME .")
		if !ok {
			return nil, fmt.Errorf("line %q", l)
		}
		if trigger, ok := strings.CutSuffix(owner, ".rpz-ip"); ok {
			a, err := rpzAddress(trigger)
			if err != nil {
				return nil, err
			}
			out = append(out, "addr "+a)
			continue
		}
		name, err := host(owner)
		if err != nil {
			return nil, err
		}
		out = append(out, "name "+name)
	}
	return out, nil
}

// rpzAddress reads 32.10.100.51.198 or 128.5.zz.db8.2001.
func rpzAddress(s string) (string, error) {
	labels := strings.Split(s, ".")
	slices.Reverse(labels)
	length := labels[len(labels)-1]
	labels = labels[:len(labels)-1]
	text := strings.Join(labels, ".")
	if length == "128" {
		text = strings.Join(labels, ":")
		if text == "zz" {
			text = "::"
		}
		if strings.HasPrefix(text, "zz:") {
			text = ":" + text
		}
		if strings.HasSuffix(text, ":zz") {
			text += ":"
		}
		text = strings.Replace(text, "zz", "", 1)
	}
	a, err := address(text)
	if err != nil || (length == "128") != a.Is6() || (length != "128" && length != "32") {
		return "", fmt.Errorf("trigger %q: %w", s, err)
	}
	return a.String(), nil
}

// filesOf renders a form and reads it; what it gives is sorted.
func filesOf(format feed.Format, entries []feed.Entry, opts feed.Options) (words []string, files []feed.File, err error) {
	files, err = feed.Render(format, entries, opts)
	if err != nil {
		return nil, nil, err
	}
	byName := map[string]string{}
	var names []string
	for _, f := range files {
		byName[f.Name] = string(f.Data)
		names = append(names, f.Name)
		if bytes.IndexByte(f.Data, 0) >= 0 {
			return nil, files, errors.New("a NUL")
		}
	}
	if !slices.Equal(names, format.FileNames()) {
		return nil, files, fmt.Errorf("files %q, want %q", names, format.FileNames())
	}
	words, err = readers[format](byName)
	slices.Sort(words)
	return words, files, err
}
