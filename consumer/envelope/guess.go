package envelope

import (
	"bytes"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// The longest value that is looked over, and the longest tag, in a guess.
const (
	maxFirst = 48
	maxTag   = 32
)

// guess hands over a line that begins as the sensors' own do, and tells whether it was taken. What such a line holds
// beyond its first keys is the decoder's to see: it reads all of them anyway.
func (p *Peeler) guess(line []byte, at int, c around) bool {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	n := len(line)
	if n < 32 || line[0] != '{' || line[1] != '"' || line[n-1] != '}' {
		return false
	}
	c = c.at(at, at+n)
	var form consumer.Form
	switch {
	case zeekStart(line):
		form = consumer.FormZeekJSON
	case bytes.HasPrefix(line, []byte(`{"_path":"`)):
		form = consumer.FormZeekJSON
		if c.kind == Plain {
			c.kind = Path
		}
	case bytes.HasPrefix(line, []byte(`{"timestamp":"`)):
		if !secondKey(line[len(`{"timestamp":`):], `,"flow_id":`) {
			return false
		}
		form = consumer.FormEVE
	case goflowStart(line):
		form = consumer.FormGoflow2
	default:
		size := bytes.IndexByte(line[2:2+maxTag-4], '"')
		if size < 1 || line[n-2] != '}' {
			return false
		}
		tag, inner := line[2:2+size], line[3+size:]
		// TaggedJSON.cc of zeek-kafka writes a blank behind the colon.
		if inner[0] != ':' {
			return false
		}
		if inner = inner[1:]; inner[0] == ' ' {
			inner = inner[1:]
		}
		if !zeekStart(inner) || fieldOf(tag) != fieldOther {
			return false
		}
		if c.layer++; c.layer > MaxLayers {
			return false
		}
		line, form = inner[:len(inner)-1], consumer.FormZeekJSON
		c.log = p.logName(tag)
		if c.kind == Plain {
			c.kind = Tagged
		}
	}
	if f := p.here.Form; f != consumer.FormUnknown && f != form {
		return false
	}
	p.set(line, form, &c)
	p.line.Guess = true
	if !p.yield(&p.line) {
		return false
	}
	p.lines++
	return true
}

// goflowStart tells whether the first key is what goflow2 begins with, and says what is known.
func goflowStart(line []byte) bool {
	const key = `{"type":"`
	if !bytes.HasPrefix(line, []byte(key)) {
		return false
	}
	line = line[len(key):]
	return bytes.HasPrefix(line, []byte(`NETFLOW_V`)) || bytes.HasPrefix(line, []byte(`IPFIX"`)) ||
		bytes.HasPrefix(line, []byte(`SFLOW_5"`))
}

// zeekStart tells whether the first two keys are those that nearly all Zeek logs begin with.
func zeekStart(line []byte) bool {
	const ts = `{"ts":`
	return len(line) > len(ts) && string(line[:len(ts)]) == ts && secondKey(line[len(ts):], `,"uid":`)
}

// secondKey tells whether what follows the number or text that rest begins with is the key.
func secondKey(rest []byte, key string) bool {
	n := bytes.IndexByte(rest[:min(len(rest), maxFirst)], ',')
	return n > 0 && len(rest) > n+len(key) && string(rest[n:n+len(key)]) == key
}

// logName gives the log of a path that Zeek gave, such as a tag.
func (p *Peeler) logName(path []byte) string {
	if name := zeek.Known(path); name != "" {
		return name
	}
	return p.logs.Intern(zeek.BasePath(path))
}
