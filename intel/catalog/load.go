package catalog

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of what is loaded.
const (
	// MaxFile is the largest file in bytes.
	MaxFile = 4 << 20
	// MaxText is the longest text of a field in bytes.
	MaxText = 300
	// MaxRows is how many endpoints a file may have.
	MaxRows = 100_000
)

// Problem is a row that was not taken, or that deserves a look, and why.
type Problem struct {
	File string `json:"file"`
	// Line is from 1; 0 if it is about no line.
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

// Error gives "pools/x.yaml:12: reason".
func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Reason
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ": " + p.Reason
}

//go:embed coins.yaml pools/*.yaml
var shipped embed.FS

// LayerShipped and LayerEdited are the names of the layers that no file of a user's holds.
const (
	LayerShipped = "shipped"
	LayerEdited  = "edited"
)

// Shipped gives the embedded catalogue. It has no problems: a test holds it to that.
func Shipped() (Layer, []Problem) {
	var layer Layer
	var problems []Problem
	err := fs.WalkDir(shipped, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := shipped.ReadFile(name)
		if err != nil {
			return err
		}
		l, bad := Parse(name, data)
		for i := range l.Pools {
			l.Pools[i].Layer = LayerShipped
		}
		layer.add(l)
		problems = append(problems, bad...)
		return nil
	})
	if err != nil { // an embedded file system does not fail
		problems = append(problems, Problem{File: "embedded", Reason: err.Error()})
	}
	return layer, problems
}

// add puts the rows of another layer behind those of l.
func (l *Layer) add(o Layer) {
	l.Pools = append(l.Pools, o.Pools...)
	l.Coins = append(l.Coins, o.Coins...)
	l.Removed = append(l.Removed, o.Removed...)
}

// Load reads files and folders (their *.yaml and *.yml, not below) of users. Wrong rows are problems, the rest is loaded;
// a file that cannot be read is an error.
func Load(paths ...string) (Layer, []Problem, error) {
	var layer Layer
	var problems []Problem
	for _, p := range paths {
		names := []string{p}
		info, err := os.Stat(p)
		if err != nil {
			return Layer{}, nil, fmt.Errorf("catalogue: %w", err)
		}
		if info.IsDir() {
			names = nil
			for _, ending := range []string{"*.yaml", "*.yml"} {
				found, err := filepath.Glob(filepath.Join(p, ending))
				if err != nil {
					return Layer{}, nil, fmt.Errorf("catalogue: %w", err)
				}
				names = append(names, found...)
			}
			slices.Sort(names)
		}
		for _, name := range names {
			data, err := readFile(name)
			if err != nil {
				return Layer{}, nil, fmt.Errorf("catalogue: %w", err)
			}
			l, bad := Parse(name, data)
			layer.add(l)
			problems = append(problems, bad...)
		}
	}
	return layer, problems, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	return data, errors.Join(err, f.Close())
}

// Parse reads one file: a pool, whose ID is the file's name, or pools:, coins: and removed: with a list each. Layer of
// the pools is the name. Wrong rows are problems with their line and are left out, with the rows that stand under them.
func Parse(name string, data []byte) (Layer, []Problem) {
	p := parser{file: name}
	if len(data) > MaxFile {
		p.problem(nil, fmt.Sprintf("is larger than %d bytes", MaxFile))
		return p.layer, p.problems
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		p.problem(nil, "is empty")
		return p.layer, p.problems
	}
	if err == nil {
		if err = dec.Decode(&second); err == nil {
			p.problem(&second, "one YAML document is enough, here is a second one")
			return p.layer, p.problems
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		p.syntax(err)
		return p.layer, p.problems
	}
	p.document(doc.Content[0], strings.TrimSuffix(strings.TrimSuffix(path.Base(filepath.ToSlash(name)), ".yaml"), ".yml"))
	return p.layer, p.problems
}

// parser gathers a file's rows and problems.
type parser struct {
	file     string
	layer    Layer
	problems []Problem
	rows     int
}

func (p *parser) problem(n *yaml.Node, reason string) {
	line := 0
	if n != nil {
		line = n.Line
	}
	p.problems = append(p.problems, Problem{File: p.file, Line: line, Reason: reason})
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): ((?s).*)$`)

func (p *parser) syntax(err error) {
	problem := Problem{File: p.file, Reason: "not YAML: " + strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		problem.Line, _ = strconv.Atoi(m[1]) // no line is 0
		problem.Reason = "not YAML: " + m[2]
	}
	p.problems = append(p.problems, problem)
}

// fields are the members of a mapping; take removes one, and what is left is unknown.
type fields struct {
	p      *parser
	node   *yaml.Node
	values map[string]*yaml.Node
	bad    bool
}

// fields reads a mapping; ok is false if the node is none.
func (p *parser) fields(n *yaml.Node, what string) (f *fields, ok bool) {
	if n.Kind != yaml.MappingNode {
		p.problem(n, what+" must be a mapping")
		return nil, false
	}
	f = &fields{p: p, node: n, values: map[string]*yaml.Node{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if _, twice := f.values[key.Value]; twice {
			f.refuse(key, key.Value+" is here twice")
		}
		f.values[key.Value] = n.Content[i+1]
	}
	return f, true
}

func (f *fields) refuse(n *yaml.Node, reason string) {
	f.bad = true
	f.p.problem(n, reason)
}

func (f *fields) take(key string) *yaml.Node {
	n := f.values[key]
	delete(f.values, key)
	return n
}

// text takes a line of printable text.
func (f *fields) text(key string) string {
	n := f.take(key)
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		f.refuse(n, key+" must be text")
		return ""
	}
	if reason := badText(n.Value); reason != "" {
		f.refuse(n, key+" "+reason)
		return ""
	}
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// list takes a list.
func (f *fields) list(key string) []*yaml.Node {
	n := f.take(key)
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.refuse(n, key+" must be a list")
		return nil
	}
	return n.Content
}

func (f *fields) boolean(key string) bool {
	n := f.take(key)
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		f.refuse(n, key+" must be true or false")
	}
	return n.Value == "true"
}

func (f *fields) provenance() Provenance {
	return Provenance{Source: f.text("source"), AsOf: f.text("as_of"), Confidence: Confidence(f.text("confidence"))}
}

// end refuses what was not taken, and the reasons that a check gives; it tells whether the row is good.
func (f *fields) end(reasons ...string) bool {
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		if key := f.node.Content[i]; f.values[key.Value] != nil {
			f.refuse(key, fmt.Sprintf("unknown field %q", key.Value))
		}
	}
	for _, r := range reasons {
		f.refuse(f.node, r)
	}
	return !f.bad
}

func (p *parser) document(n *yaml.Node, id string) {
	f, ok := p.fields(n, "a catalogue file")
	if !ok {
		return
	}
	_, pools := f.values["pools"]
	_, coins := f.values["coins"]
	_, removed := f.values["removed"]
	if !pools && !coins && !removed {
		p.pool(f, id)
		return
	}
	for _, n := range f.list("coins") {
		p.coin(n)
	}
	for _, n := range f.list("pools") {
		if f, ok := p.fields(n, "a pool"); ok {
			p.pool(f, "")
		}
	}
	for _, n := range f.list("removed") {
		if n.Kind != yaml.ScalarNode || !validID(n.Value) {
			p.problem(n, "removed must have IDs of pools")
			continue
		}
		p.layer.Removed = append(p.layer.Removed, n.Value)
	}
	f.end()
}

func (p *parser) pool(f *fields, id string) {
	pool := Pool{
		ID: f.text("id"), Name: f.text("name"), URL: f.text("url"), Operator: f.text("operator"), Kind: Kind(f.text("kind")),
		Note: f.text("note"), Provenance: f.provenance(), Layer: p.file,
	}
	if pool.ID == "" {
		pool.ID = id
	}
	if pool.Kind == "" {
		pool.Kind = Public
	}
	servers := f.list("servers")
	if !f.end(pool.problems()...) {
		return
	}
	for _, n := range servers {
		p.server(&pool, n)
	}
	p.layer.Pools = append(p.layer.Pools, pool)
}

func (p *parser) server(pool *Pool, n *yaml.Node) {
	f, ok := p.fields(n, "a server")
	if !ok {
		return
	}
	s := Server{Name: CanonicalName(f.text("name")), Region: f.text("region"), Provenance: f.provenance()}
	if a := f.text("address"); a != "" {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			f.refuse(n, fmt.Sprintf("address %q is none", a))
		}
		s.Address = addr.Unmap().WithZone("")
	}
	endpoints := f.list("endpoints")
	if !f.end(s.problems()...) {
		return
	}
	for _, n := range endpoints {
		if p.rows++; p.rows > MaxRows {
			p.problem(n, fmt.Sprintf("more than %d endpoints in one file", MaxRows))
			break
		}
		if e, ok := p.endpoint(n); ok {
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	pool.Servers = append(pool.Servers, s)
}

func (p *parser) endpoint(n *yaml.Node) (Endpoint, bool) {
	f, ok := p.fields(n, "an endpoint")
	if !ok {
		return Endpoint{}, false
	}
	e := Endpoint{
		TLS: f.boolean("tls"), Coin: f.text("coin"), Dialect: f.text("dialect"), Algorithm: f.text("algorithm"), Note: f.text("note"),
		Provenance: f.provenance(),
	}
	if text := f.text("port"); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			f.refuse(n, fmt.Sprintf("port %q is not 1 to 65535", text))
		} else {
			e.Port = uint16(port)
		}
	}
	return e, f.end(e.problems()...)
}

func (p *parser) coin(n *yaml.Node) {
	f, ok := p.fields(n, "a coin")
	if !ok {
		return
	}
	c := Coin{
		Symbol: f.text("symbol"), Name: f.text("name"), Algorithm: f.text("algorithm"), Dialect: f.text("dialect"), URL: f.text("url"),
		Provenance: f.provenance(),
	}
	if n := f.take("explorer"); n != nil {
		if e, ok := p.fields(n, "explorer"); ok {
			c.Explorer = map[string]string{}
			for _, key := range ExplorerKeys() {
				if v := e.text(key); v != "" {
					c.Explorer[key] = v
				}
			}
			f.bad = !e.end() || f.bad
		} else {
			f.bad = true
		}
	}
	if f.end(c.problems()...) {
		p.layer.Coins = append(p.layer.Coins, c)
	}
}
