package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest configuration file in bytes.
const MaxFile = 1 << 20

// Problem is one thing that is wrong, and where.
type Problem struct {
	// Source is the file, the environment variable or the flag; "" if the value was set nowhere.
	Source string
	// Line is the line in the file, from 1; 0 if Source is no file.
	Line int
	// Path is the key, such as prober.mode, with [i] for an element of a list; "" if it is about no key.
	Path string
	// Reason is what is wrong with it.
	Reason string
}

// Error gives "minecanary.yaml:12: prober.mode: must be auto or off", without the parts that are not known.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(p.Source)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Problems is all that is wrong with a configuration, that of the file first, by line.
type Problems []Problem

// Error gives one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		// A problem without a line comes after those with one.
		return cmp.Compare(uint(a.Line)-1, uint(b.Line)-1)
	})
}

// origin is where a value was set.
type origin struct {
	source string
	line   int
}

// problem makes a problem at the origin, or at that of the list's element if it has one.
func (o origin) problem(path, reason string, element origin) Problem {
	if element != (origin{}) {
		o = element
	}
	return Problem{Source: o.source, Line: o.line, Path: path, Reason: reason}
}

// Setting sets one key from outside of the file; settings win over the environment, later ones over earlier ones.
type Setting struct {
	// Name is what messages call it, such as --probe.
	Name string
	// Path is the key, such as prober.mode.
	Path string
	// Value is written as in the environment: elements of a list are separated by commas.
	Value string
}

// Load reads the file, applies the environment (os.Environ form) and the settings, and checks the result. An empty path
// means no file. The error is Problems, with all that is wrong, or that of reading the file.
func Load(path string, environ []string, settings ...Setting) (*Config, error) {
	if path == "" {
		return Parse("", nil, environ, settings...)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, environ, settings...)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	return data, errors.Join(err, f.Close())
}

// Parse is Load for a file that was read already; name is what messages call it.
func Parse(name string, data []byte, environ []string, settings ...Setting) (*Config, error) {
	c := Default()
	c.origins = map[string]origin{}
	l := loader{file: name, origins: c.origins, bad: map[string]bool{}, sections: sectionsOf(reflect.ValueOf(c).Elem())}
	l.yaml(data)
	l.environ(environ)
	for _, s := range settings {
		l.setting(s)
	}
	problems := append(l.problems, c.problems(l.bad)...)
	problems.sort()
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// loader fills a tree and gathers problems.
type loader struct {
	file     string
	sections []section
	origins  map[string]origin
	problems Problems
	// bad has the paths whose value could not be read.
	bad map[string]bool
}

// at reports a problem of the file.
func (l *loader) at(n *yaml.Node, path, reason string) {
	l.problems = append(l.problems, Problem{Source: l.file, Line: n.Line, Path: path, Reason: reason})
}

// yamlError is how go.yaml.in/yaml/v3 words an error of syntax.
var yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?((?s).*)$`)

// zeroBased are errors whose line go.yaml.in/yaml v3.0.6 counts from 0 (those of its parser, not of its scanner); a list
// or mapping is named by the line where it starts.
var zeroBased = []string{
	"did not find expected <document start>", "did not find expected node content", "did not find expected '-' indicator",
	"did not find expected key", "did not find expected ',' or ']'", "did not find expected ',' or '}'", "found undefined tag handle",
}

// yaml reads the file.
func (l *loader) yaml(data []byte) {
	if len(data) > MaxFile {
		l.problems = append(l.problems, Problem{Source: l.file, Reason: fmt.Sprintf("must not be larger than %d bytes", MaxFile)})
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return // an empty file
	}
	if err == nil {
		if err = dec.Decode(&second); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			l.at(&second, "", "must be one YAML document, here is a second one")
		}
	}
	if err != nil {
		p := Problem{Source: l.file, Reason: strings.ReplaceAll(err.Error(), "\n", " ")}
		if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
			p.Line, _ = strconv.Atoi(m[1]) // no line is 0
			if slices.Contains(zeroBased, m[2]) {
				p.Line++
			}
			p.Reason = "not YAML: " + strings.ReplaceAll(m[2], "\n", " ")
		}
		l.problems = append(l.problems, p)
		return
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return // nothing but comments
	}
	root := doc.Content[0]
	l.mapping(root, "", func(key, value *yaml.Node) {
		i := slices.IndexFunc(l.sections, func(s section) bool { return s.name == key.Value })
		if i < 0 {
			l.unknown(key, key.Value, "")
			return
		}
		if isNull(value) {
			return // a section whose keys are all comments
		}
		s := &l.sections[i]
		l.mapping(value, s.name, func(key, value *yaml.Node) {
			j := slices.IndexFunc(s.fields, func(f field) bool { return f.name() == key.Value })
			if j < 0 {
				l.unknown(key, s.name+"."+key.Value, s.name)
				return
			}
			l.value(&s.fields[j], value)
		})
	})
}

// isNull tells that nothing was written: the key alone, ~ or null.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// mapping calls do for each key of a mapping; one that is no text or was there before is a problem.
func (l *loader) mapping(n *yaml.Node, path string, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		l.at(n, path, "must be keys with values, not "+describe(n))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		where := strings.TrimPrefix(path+"."+key.Value, ".")
		if key.Kind != yaml.ScalarNode {
			l.at(key, path, "a key must be text, not "+describe(key))
			continue
		}
		if line, twice := first[key.Value]; twice {
			l.at(key, printable(where), fmt.Sprintf("must be there once; it is in line %d too", line))
			continue
		}
		first[key.Value] = key.Line
		do(key, value)
	}
}

// describe names what was found instead.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias (write the value out)"
	case isNull(n):
		return "nothing"
	}
	return "a single value"
}

// unknown reports a key that is not known, with the nearest one that is: in its section, else anywhere.
func (l *loader) unknown(key *yaml.Node, path, in string) {
	l.at(key, printable(path), "unknown key"+l.hint(path, in))
}

// hint suggests a path for an unknown one; in is the section it stands in, "" for the top level.
func (l *loader) hint(path, in string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	var sections, inSection, all, same []string
	for _, s := range l.sections {
		sections = append(sections, s.name)
		for _, f := range s.fields {
			all = append(all, f.path)
			if s.name == in {
				inSection = append(inSection, f.name())
			}
			if f.name() == name {
				same = append(same, f.path)
			}
		}
	}
	switch {
	case in == "" && slices.Contains(all, path):
		section, key, _ := strings.Cut(path, ".")
		return fmt.Sprintf(" (write %s under %s)", key, section)
	case in == "" && nearest(path, sections) != "":
		return " (did you mean " + nearest(path, sections) + "?)"
	case in != "" && nearest(name, inSection) != "":
		return " (did you mean " + in + "." + nearest(name, inSection) + "?)"
	case len(same) > 0:
		return " (did you mean " + orList(same) + "?)"
	case in != "" && len(inSection) > 0:
		return " (" + in + " has " + andList(inSection) + ")"
	case nearest(path, all) != "":
		return " (did you mean " + nearest(path, all) + "?)"
	}
	return " (the sections are " + andList(sections) + ")"
}

// andList gives "a, b and c".
func andList(words []string) string {
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// printable makes a key of the file fit for a message of one line.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || len(s) > 80 {
		if len(s) > 80 {
			q = strconv.Quote(strings.ToValidUTF8(s[:80], "") + "…")
		}
		return q
	}
	return s
}

// value reads the value of a key.
func (l *loader) value(f *field, n *yaml.Node) {
	nodes := []*yaml.Node{n}
	if f.list {
		if n.Kind != yaml.SequenceNode {
			l.bad[f.path] = true
			l.at(n, f.path, "must be a list, such as [a, b] or [], not "+describe(n))
			return
		}
		nodes = n.Content
	}
	values := make([]reflect.Value, 0, len(nodes))
	where := map[string]origin{f.path: {source: l.file, line: n.Line}}
	for i, n := range nodes {
		path := f.path
		if f.list {
			path += fmt.Sprintf("[%d]", i)
			where[path] = origin{source: l.file, line: n.Line}
		}
		v, reason := f.scalar(n)
		if reason != "" {
			l.bad[f.path] = true
			l.at(n, path, reason)
			continue
		}
		values = append(values, v)
	}
	if l.bad[f.path] {
		return
	}
	f.set(values)
	maps.Copy(l.origins, where)
}

// tags are the YAML types a value of a kind may have; text that looks like something else has to be quoted.
var tags = map[kind][]string{
	kindText:     {"!!str"},
	kindBool:     {"!!bool"},
	kindInt:      {"!!int"},
	kindFloat:    {"!!int", "!!float"},
	kindDuration: {"!!str"},
	kindSize:     {"!!str"},
	kindPrefix:   {"!!str"},
}

// scalar reads one value.
func (f *field) scalar(n *yaml.Node) (reflect.Value, string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return reflect.Value{}, f.must() + ", not " + describe(n)
	}
	if !slices.Contains(tags[f.kind], n.Tag) {
		reason := f.quoted(f.must(), n.Value)
		switch {
		case f.kind == kindText && len(f.enum) == 0 && !f.secret:
			reason = "must be text: write " + strconv.Quote(n.Value)
		case f.kind == kindDuration && intForm.MatchString(n.Value) && n.Value != "0":
			reason += " (did you mean " + n.Value + "s?)"
		}
		return reflect.Value{}, reason
	}
	return f.parse(n.Value)
}

// orchestrated are variables that Kubernetes sets in every container beside a service named minecanary, and container
// links likewise; and those that lookup takes. They are no mistake of the operator.
var orchestrated = regexp.MustCompile(`^MINECANARY_(API|API_TOKEN|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?)$`)

// environ applies the variables that start with EnvPrefix.
func (l *loader) environ(environ []string) {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) || orchestrated.MatchString(name) {
			continue
		}
		var names []string
		found := false
		for _, s := range l.sections {
			for i := range s.fields {
				if names = append(names, s.fields[i].env()); names[len(names)-1] == name {
					l.text(&s.fields[i], name, value)
					found = true
				}
			}
		}
		if !found {
			reason := "unknown variable"
			if near := nearest(strings.ToLower(name), lower(names)); near != "" {
				reason += " (did you mean " + strings.ToUpper(near) + "?)"
			} else {
				reason += " (variables are named after the key, such as " + names[0] + ")"
			}
			l.problems = append(l.problems, Problem{Source: printable(name), Reason: reason})
		}
	}
}

func lower(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToLower(w)
	}
	return out
}

// setting applies one setting.
func (l *loader) setting(s Setting) {
	for i := range l.sections {
		for j := range l.sections[i].fields {
			if f := &l.sections[i].fields[j]; f.path == s.Path {
				l.text(f, s.Name, s.Value)
				return
			}
		}
	}
	in, _, _ := strings.Cut(s.Path, ".")
	if !slices.ContainsFunc(l.sections, func(x section) bool { return x.name == in }) {
		in = ""
	}
	l.problems = append(l.problems, Problem{Source: s.Name, Path: printable(s.Path), Reason: "unknown key" + l.hint(s.Path, in)})
}

// text sets a key from a variable or a flag; what the file said, right or wrong, no longer counts for the rules.
func (l *loader) text(f *field, source, text string) {
	parts := []string{text}
	if f.list {
		parts = nil
		if strings.TrimSpace(text) != "" {
			parts = strings.Split(text, ",")
		}
	}
	values := make([]reflect.Value, 0, len(parts))
	for i, part := range parts {
		path := f.path
		if f.list {
			part = strings.TrimSpace(part)
			path += fmt.Sprintf("[%d]", i)
		}
		v, reason := f.parse(part)
		if reason != "" {
			l.bad[f.path] = true
			l.problems = append(l.problems, Problem{Source: source, Path: path, Reason: reason})
			continue
		}
		values = append(values, v)
	}
	if len(values) < len(parts) {
		return
	}
	f.set(values)
	for path := range l.origins {
		if path == f.path || strings.HasPrefix(path, f.path+"[") {
			delete(l.origins, path)
		}
	}
	l.origins[f.path] = origin{source: source}
}
