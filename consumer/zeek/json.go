package zeek

import (
	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

// JSON decodes lines of Zeek's JSON logs. The three spellings of the connection's addresses in the field are read:
// id.orig_h, id_orig_h and "id":{"orig_h":…}; if a line has several the first of this list counts. Of equal keys the
// last counts; null is the same as absent.
//
// Lines as Zeek writes them are read in one pass without allocations, all others with encoding/json.
type JSON struct {
	scan  *jsonscan.Scanner
	names jsonscan.Interner
}

// NewJSON gives a decoder.
func NewJSON() *JSON { return &JSON{scan: jsonscan.NewScanner(schema)} }

// Decode reads one line, without its newline. If the outcome is Decoded the record is overwritten in full, else its
// content is undefined. A byte order mark at the start and a carriage return at the end are tolerated.
func (d *JSON) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	line = jsonscan.Line(line)
	if d.scan.Scan(line) {
		return d.finish(rec)
	}
	return d.slow(line, rec)
}

// slow decodes a line with encoding/json. It defines what Decode must do.
func (d *JSON) slow(line []byte, rec *minecanary.Record) consumer.Outcome {
	if jsonscan.Blank(line, 0) == len(line) {
		return skipped(ReasonEmpty)
	}
	switch flaw := d.scan.Read(line); flaw {
	case jsonscan.NotJSON:
		return bad(ReasonJSON)
	case jsonscan.TooDeep:
		return bad(ReasonDepth)
	}
	return d.finish(rec)
}

func (d *JSON) finish(rec *minecanary.Record) consumer.Outcome {
	r := row{&d.scan.Values, &d.names}
	return r.finish(r.log(), rec)
}

// LogName gives the name of the log a line is of: what _path, _stream or a #path line says (without the "-2" of a
// second filter), else what the columns of a JSON object or a #fields line say, as far as they do: conn, conn_interim,
// ssl, dns, mining. It gives "" where nothing is told. It is meant for the first line of a file, not for every line.
func LogName(line []byte) string {
	line = jsonscan.Line(line)
	if len(line) > 0 && line[0] == '#' {
		var none *Header
		h, ok := none.with(line)
		if !ok || h == nil {
			return ""
		}
		if path := basePath([]byte(h.path)); len(path) > 0 {
			return string(path)
		}
		return logNames[h.log].path
	}
	scan := jsonscan.NewScanner(schema)
	if scan.Read(line) != jsonscan.Sound {
		return ""
	}
	r := row{Values: &scan.Values}
	for _, f := range [...]field{fieldPath, fieldStream} {
		if path := r.Text(f); len(path) > 0 {
			return string(basePath(path))
		}
	}
	return logNames[r.log()].path
}
