package config

import (
	_ "embed" // for the hand-written parts of the reference
	"reflect"
	"strings"
)

//go:embed intro.md
var intro string

//go:embed seed.md
var seed string

// Reference gives the page docs/config.md: all keys with their defaults, and where the settings of the seed's XML went.
func Reference() string {
	var b strings.Builder
	b.WriteString(intro)
	for _, s := range sectionsOf(reflect.ValueOf(Default()).Elem()) {
		b.WriteString("\n## " + s.name + "\n\n" + s.doc + "\n\n| Key | Default | Values | Meaning |\n| --- | --- | --- | --- |\n")
		for i := range s.fields {
			f := &s.fields[i]
			standard := strings.TrimSpace(f.yaml())
			if standard == `""` {
				standard = "(empty)"
			} else {
				standard = "`" + standard + "`"
			}
			cells := []string{"`" + f.path + "`", standard, f.allowed(), f.doc}
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		}
	}
	b.WriteString("\n" + seed)
	return b.String()
}

// allowed says what is allowed, for the reference.
func (f *field) allowed() string {
	s := map[kind]string{
		kindText: "text", kindBool: "`true`, `false`", kindInt: "whole number", kindFloat: "number",
		kindDuration: "time", kindSize: "size", kindPrefix: "network",
	}[f.kind]
	switch {
	case f.item == "path":
		s = "path"
	case f.item == "ascii":
		s = "ASCII, at most " + f.max + " bytes"
	case f.item == "glob":
		s = "path or pattern"
	case f.item == "listen", f.item == "addrport":
		s = "address:port"
	case f.item == "address":
		s = "address"
	case len(f.enum) > 0:
		s = "`" + strings.Join(f.enum, "`, `") + "`"
	case f.min != "" && f.max != "":
		s += ", " + f.min + " to " + f.max
	}
	if f.list {
		s = "list: " + s
	}
	return s
}
