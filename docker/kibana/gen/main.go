// Command gen writes Kibana's saved objects: the data views, a saved search and the dashboard "Mining overview", one JSON
// object a line, as Kibana 8.19 imports them. Run it by `go generate ./docker`.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: gen FILE")
	}
	b, err := lines(objects())
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o644) //nolint:gosec // a file of the repository
}

// lines writes objects as NDJSON.
func lines(objects []object) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, o := range objects {
		if err := enc.Encode(o); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.Type, o.ID, err)
		}
	}
	return out.Bytes(), nil
}

// text gives a value as JSON in a string, the form in which Kibana keeps what it does not index.
func text(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only maps, slices and plain values are given here
	}
	return string(bytes.TrimSpace(out.Bytes()))
}
