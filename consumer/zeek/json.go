package zeek

import (
	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/sighting"
)

// JSON decodes lines of Zeek's JSON logs. The three spellings of the connection's addresses in the field are read:
// id.orig_h, id_orig_h and "id":{"orig_h":…}; if a line has several the first of this list counts. Of equal keys the
// last counts; null is the same as absent.
//
// Lines as Zeek writes them are read in one pass without allocations, all others with encoding/json.
type JSON struct {
	scan  *jsonscan.Scanner
	names jsonscan.Interner
	sight sighting.Maker
}

// NewJSON gives a decoder.
func NewJSON() *JSON { return &JSON{scan: jsonscan.NewScanner(schema)} }

// Sightings gives what the last line gave if its outcome was Sighted. The slice is used again for the next line.
func (d *JSON) Sightings() []minecanary.Sighting { return d.sight.List() }

// row gives the values of the line that was read last.
func (d *JSON) row() row { return row{Values: &d.scan.Values, names: &d.names, sight: &d.sight} }

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
	if out, ok := d.read(line); !ok {
		return out
	}
	return d.finish(rec)
}

// read reads the values of a line with encoding/json; not ok gives the outcome of a line that has none.
func (d *JSON) read(line []byte) (out consumer.Outcome, ok bool) {
	if jsonscan.Blank(line, 0) == len(line) {
		return skipped(ReasonEmpty), false
	}
	switch flaw := d.scan.Read(line); flaw {
	case jsonscan.NotJSON:
		return bad(ReasonJSON), false
	case jsonscan.TooDeep:
		return bad(ReasonDepth), false
	}
	return consumer.Outcome{}, true
}

func (d *JSON) finish(rec *minecanary.Record) consumer.Outcome {
	r := d.row()
	return r.finish(r.log(), rec)
}

// Hint is what is known of a line's log from elsewhere: the envelope it came in, or its topic.
type Hint struct {
	// Log is the log's path ("conn", "conn_interim"); "" for nothing known.
	Log string
	// Forced tells that Log counts whatever the line says of itself.
	Forced bool
}

// DecodeAs is Decode for a line of which something is known from elsewhere. What the line says itself (_path, _stream)
// counts first, unless the hint is forced. A line with the columns of a conn_interim record is one also where the hint
// says conn; and it is of the log its columns tell if that is ssl, dns or mining.
func (d *JSON) DecodeAs(line []byte, hint Hint, rec *minecanary.Record) consumer.Outcome {
	if hint.Log == "" {
		return d.Decode(line, rec)
	}
	line = jsonscan.Line(line)
	if !d.scan.Scan(line) {
		if out, ok := d.read(line); !ok {
			return out
		}
	}
	r := d.row()
	return r.finish(r.hinted(hint), rec)
}

// Try is DecodeAs for a line that may have more to it. It gives up (false) where the record is bad or hard to read, and
// where there are keys of a log shipper beside it: whoever called is to look at the line in full then. It costs no more
// than Decode for the lines that Zeek writes.
func (d *JSON) Try(line []byte, hint Hint, rec *minecanary.Record) (consumer.Outcome, bool) {
	if !d.scan.Scan(line) || d.scan.Has>>fieldShipper&1 != 0 {
		return consumer.Outcome{}, false
	}
	r := d.row()
	of := r.log()
	if hint.Log != "" {
		of = r.hinted(hint)
	}
	if d.scan.Has>>fieldAgent&1 != 0 && (of != logMining || d.scan.Wrong>>fieldAgent&1 != 0) {
		return consumer.Outcome{}, false // the agent is not a miner but a shipper
	}
	out := r.finish(of, rec)
	return out, out.Kind != consumer.Bad
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
		if path := BasePath([]byte(h.path)); len(path) > 0 {
			return string(path)
		}
		return logNames[h.log]
	}
	scan := jsonscan.NewScanner(schema)
	if scan.Read(line) != jsonscan.Sound {
		return ""
	}
	r := row{Values: &scan.Values}
	for _, f := range [...]field{fieldPath, fieldStream} {
		if path := r.Text(f); len(path) > 0 {
			return string(BasePath(path))
		}
	}
	return logNames[r.log()]
}
