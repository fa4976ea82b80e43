package config

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// showWidth is where comments are wrapped.
const showWidth = 100

// masked stands for a secret.
const masked = "********"

// Show writes the configuration as YAML with a comment for every key. Read again it gives the same configuration, but for
// secrets, which are masked.
func (c *Config) Show(w io.Writer) error {
	text := "# Configuration of Minecanary. A key that is left out has its default.\n" +
		show(sectionsOf(reflect.ValueOf(c).Elem()), sectionsOf(reflect.ValueOf(Default()).Elem()))
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// show writes sections; defaults has the same keys with their defaults.
func show(sections, defaults []section) string {
	var b strings.Builder
	for i, s := range sections {
		b.WriteString("\n")
		comment(&b, "", s.doc)
		b.WriteString(s.name + ":\n")
		for j := range s.fields {
			f, d := &s.fields[j], &defaults[i].fields[j]
			comment(&b, "  ", strings.TrimSpace(f.doc+" "+f.values()))
			value := f.yaml()
			if standard := d.yaml(); standard != value && !f.secret {
				comment(&b, "  ", "Default: "+strings.Join(strings.Fields(standard), " "))
			}
			b.WriteString("  " + f.name() + ":" + value + "\n")
		}
	}
	return b.String()
}

// comment writes a wrapped comment.
func comment(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > showWidth && line != indent+"#" {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// values says in a sentence what is allowed; "" if the doc says it all.
func (f *field) values() string {
	switch {
	case len(f.enum) > 0:
		return "One of " + strings.Join(f.enum, ", ") + "."
	case f.item == "ascii":
		return "At most " + f.max + " bytes of ASCII."
	case f.min != "" && f.max != "":
		return "From " + f.min + " to " + f.max + "."
	}
	return ""
}

// yaml gives what follows the key and its colon.
func (f *field) yaml() string {
	if !f.list {
		return " " + f.yamlItem(f.value)
	}
	if f.value.Len() == 0 {
		return " []"
	}
	var b strings.Builder
	for i := range f.value.Len() {
		b.WriteString("\n    - " + f.yamlItem(f.value.Index(i)))
	}
	return b.String()
}

func (f *field) yamlItem(v reflect.Value) string {
	if f.secret && !v.IsZero() {
		return strconv.Quote(masked)
	}
	s := formatValue(f.kind, v)
	switch f.kind {
	case kindBool, kindInt, kindFloat:
		return s
	}
	return quoteYAML(s)
}

// plainForm is text that needs no quotes, unless YAML takes it for something else than text.
var plainForm = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./:*?@+-]*$`)

// quoteYAML writes text as a YAML scalar. Go's quoted form is one of YAML's: it has the same escapes (YAML 1.2, section
// 5.7).
func quoteYAML(s string) string {
	if plainForm.MatchString(s) && !strings.HasSuffix(s, ":") {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(s), &n); err == nil && len(n.Content) == 1 &&
			n.Content[0].Kind == yaml.ScalarNode && n.Content[0].Tag == "!!str" && n.Content[0].Value == s {
			return s
		}
	}
	return strconv.Quote(s)
}

// SchemaID names the schema.
const SchemaID = "urn:minecanary:config"

// Schema gives the JSON Schema (2020-12) of the configuration file, for editors. It allows whatever Load allows of a file;
// Load checks more: ranges of times, forms, and what must go together.
func Schema() ([]byte, error) {
	properties := map[string]any{}
	for _, s := range sectionsOf(reflect.ValueOf(Default()).Elem()) {
		keys := map[string]any{}
		for i := range s.fields {
			keys[s.fields[i].name()] = s.fields[i].schema()
		}
		properties[s.name] = map[string]any{
			"description": s.doc, "type": []string{"object", "null"}, "additionalProperties": false, "properties": keys,
		}
	}
	schema := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SchemaID, "title": "Minecanary configuration",
		"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties,
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make schema: %w", err)
	}
	return append(out, '\n'), nil
}

// schema describes one key.
func (f *field) schema() map[string]any {
	one := map[string]any{}
	switch f.kind {
	case kindText:
		one["type"] = "string"
		if f.item == "ascii" {
			one["maxLength"] = json.Number(f.max)
		}
		if len(f.enum) > 0 {
			one["enum"] = f.enum
		}
	case kindBool:
		one["type"] = "boolean"
	case kindInt, kindFloat:
		one["type"] = map[kind]string{kindInt: "integer", kindFloat: "number"}[f.kind]
		for key, tag := range map[string]string{"minimum": f.min, "maximum": f.max} {
			if tag != "" {
				one[key] = json.Number(tag)
			}
		}
	case kindDuration:
		one["type"], one["pattern"] = "string", durationPattern
	case kindSize:
		one["type"], one["pattern"] = "string", sizePattern
	case kindPrefix:
		one["type"], one["pattern"] = "string", prefixPattern
	}
	out := one
	if f.list {
		if f.kind == kindText {
			one["minLength"] = 1
		}
		out = map[string]any{"type": "array", "items": one}
	}
	out["description"] = strings.TrimSpace(f.doc + " " + f.values())
	if !f.secret {
		out["default"] = f.jsonValue()
	}
	return out
}

// jsonValue gives the field's value as JSON has it.
func (f *field) jsonValue() any {
	values := []any{}
	for _, it := range f.items() {
		s := formatValue(f.kind, it.value)
		switch f.kind {
		case kindBool, kindInt, kindFloat:
			values = append(values, json.RawMessage(s))
		default:
			values = append(values, s)
		}
	}
	if f.list {
		return values
	}
	return values[0]
}
