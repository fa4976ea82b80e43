// Package envelope finds the records inside of the messages of Kafka. What a sensor writes as a line comes to a topic as
// it is, or wrapped by what carried it there: a tag (zeek-kafka), an object with the line as a text (Filebeat, Elastic
// Agent, Logstash, Vector, Fluent Bit), an object with the record's fields under other names (modules of Filebeat), an
// array or several lines in one message, compressed, with a byte order mark. A Peeler takes all of that off, at most
// MaxLayers deep.
//
// How a message is wrapped is seen from the keys of each message by itself: nothing is remembered from the messages
// before, so that a message means the same whenever and by whomever it is read. What is usual costs little all the same:
// the plain lines of Zeek and Suricata, and those with a tag, are told by their first two keys, and handed over as a
// guess that the decoder confirms while it reads them.
package envelope

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/recognise"
)

const (
	// MaxLayers is how many envelopes may lie around a record, one in the other.
	MaxLayers = 4
	// MaxInflated is how much may come out of one compressed message, in bytes.
	MaxInflated = 16 << 20
	// MaxRatio is how many times its size may come out of a compressed message, if that is more than minInflated. Lines
	// of logs shrink to a tenth, and to a fortieth where they repeat.
	MaxRatio = 200
	// MaxBad is the number of bad parts of one message that are told one by one; those beyond are told as one.
	MaxBad = 100
)

const (
	// minInflated may come out of a compressed message whatever its size is.
	minInflated = 64 << 10
	// keptInflated is the size up to which the memory for what came out is kept for the next message.
	keptInflated = 1 << 20
)

// The reasons of messages, and parts of messages, that are of no use.
const (
	// ReasonEmpty: skipped, a message without content; Kafka's tombstones are such.
	ReasonEmpty = "empty"
	// ReasonJSON: bad, neither JSON nor a line of Zeek's TSV.
	ReasonJSON = "json"
	// ReasonDepth: bad, JSON nested over jsonscan.MaxDepth.
	ReasonDepth = "depth"
	// ReasonLayers: bad, a record in more than MaxLayers envelopes.
	ReasonLayers = "layers"
	// ReasonUnknown: bad, JSON that holds no record of a known form.
	ReasonUnknown = "unknown"
	// ReasonGzip: bad, compressed data that are broken.
	ReasonGzip = "gzip"
	// ReasonInflated: bad, more than MaxInflated or MaxRatio comes out of compressed data.
	ReasonInflated = "inflated"
	// ReasonMany: bad, the parts of a message beyond MaxBad that are bad too, for whatever reason.
	ReasonMany = "many_bad"
)

// Topic says what is known of a topic beforehand.
type Topic struct {
	// Form is how the records of the topic are written, in whatever envelope; FormUnknown finds it out from each.
	// A topic of Zeek's TSV needs it, unless each message begins with the header.
	Form consumer.Form
	// Log is the path of the Zeek log the records are of ("conn"), whatever they say themselves; "" leaves it to them.
	Log string
}

// Config is what is known beforehand.
type Config struct {
	// Topics holds topics by name.
	Topics map[string]Topic
}

// Line is a record found in a message, or a part of it that is none.
type Line struct {
	// Data is one JSON object, or a line of TSV, free of envelopes; or what was found instead, if Bad is set. It is valid
	// until yield returns.
	Data []byte
	Form consumer.Form
	// Log is the path of the Zeek log the record is of as far as envelope and topic tell, without the "-2" of a second
	// filter: "conn", "conn_interim", "ssl"; "" if they do not. Forced: it comes from the configuration.
	Log    string
	Forced bool
	// Sensor is the sensor's name as far as the envelope tells, "" if it does not.
	Sensor string
	// Kind is the outermost envelope.
	Kind Kind
	// Begin and End are where in the message the JSON object is that the record came in, envelope and all: the message
	// itself, one of its lines, an element of its array. It is all of the message if that was compressed.
	Begin, End int
	// Guess tells that message and record were not looked at in full. If the line is not a record, or is one with keys
	// of a shipper in it (see zeek.JSON.Try), yield has to answer false, and gets what it is in other lines.
	Guess bool
	// Bad is the reason of a part of a message that is no record, "" for one that may be.
	Bad string
}

// Peeler finds records in messages. It belongs to one goroutine.
type Peeler struct {
	cfg Config

	// topic is the last message's, here what is configured for it, hint what its name says.
	topic string
	here  Topic
	hint  string

	yield func(*Line) bool
	line  Line
	lines int
	bads  int
	// broken tells that an array broke off after it had given records.
	broken bool
	// more is the part that was bad after MaxBad others.
	more Line

	logs, sensors jsonscan.Interner
	// members holds those of the object that is looked at in each layer.
	members [MaxLayers + 1]members
	// texts holds the text of each layer, free of escapes; plain a line made of the fields of a module.
	texts    [MaxLayers + 1][]byte
	plain    []byte
	unzip    gzip.Reader
	zipped   bytes.Reader
	inflated []byte
}

// New gives a Peeler.
func New(cfg Config) *Peeler { return &Peeler{cfg: cfg} }

// around is what is known of the place of a text or value: what lies around it.
type around struct {
	kind   Kind
	log    string
	sensor string
	layer  int
	// offset is where the text begins in the message. Fixed tells that begin and end are what Line is to say.
	offset     int
	begin, end int
	fixed      bool
}

// Peel gives yield the records of a message of the topic, in their order, and what is bad among them. Yield answers
// whether the line was of use if it is a guess; else its answer does not matter. The Line is the Peeler's and counts until yield returns,
// which must not call the Peeler.
//
// The outcome is Decoded if there was a line, bad ones included; else what became of the whole message. Msg is not
// changed, nor kept.
func (p *Peeler) Peel(topic string, msg []byte, yield func(*Line) bool) consumer.Outcome {
	if topic != p.topic || p.topic == "" {
		p.topic, p.here, p.hint = topic, p.cfg.Topics[topic], topicLog(topic)
	}
	p.yield, p.lines, p.bads = yield, 0, 0
	reason := p.message(msg)
	if p.bads > MaxBad {
		p.yield(&p.more)
	}
	p.yield, p.line, p.more = nil, Line{}, Line{}
	switch {
	case p.lines > 0:
		return consumer.Outcome{Kind: consumer.Decoded}
	case reason != "":
		return consumer.Outcome{Kind: consumer.Bad, Reason: reason}
	}
	return consumer.Outcome{Kind: consumer.Skipped, Reason: ReasonEmpty}
}

// message takes a message as it came. Here and below a function gives the reason why what it was given is bad, if it
// has told nothing of that to yield.
func (p *Peeler) message(msg []byte) string {
	c := around{log: p.hint}
	if len(msg) < 2 || msg[0] != 0x1F || msg[1] != 0x8B {
		return p.text(msg, c)
	}
	data, reason := p.inflate(msg)
	if reason == "" {
		c.layer, c.fixed, c.end = 1, true, len(msg)
		reason = p.text(data, c)
	}
	if cap(p.inflated) > keptInflated {
		// The texts in it may have been as long.
		p.inflated, p.texts = nil, [len(p.texts)][]byte{}
		for i := range p.members {
			p.members[i].text = nil
		}
	}
	return reason
}

// inflate takes off gzip.
func (p *Peeler) inflate(msg []byte) (data []byte, reason string) {
	most := min(MaxInflated, max(minInflated, MaxRatio*len(msg)))
	p.zipped.Reset(msg)
	if err := p.unzip.Reset(&p.zipped); err != nil {
		return nil, ReasonGzip
	}
	buf := bytes.NewBuffer(p.inflated[:0])
	n, err := io.CopyN(buf, &p.unzip, int64(most)+1)
	p.inflated = buf.Bytes()
	switch {
	case n > int64(most):
		return nil, ReasonInflated
	case !errors.Is(err, io.EOF):
		return nil, ReasonGzip
	}
	return p.inflated, ""
}

// text takes a text of one or several values, each beginning on a line of its own or right behind the one before.
func (p *Peeler) text(data []byte, c around) string {
	start := 0
	if bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")) {
		start = 3
	}
	start = jsonscan.Blank(data, start)
	if start == len(data) {
		return ""
	}
	if data[start] == '#' || p.here.Form == consumer.FormZeekTSV && bytes.IndexByte([]byte(`{["`), data[start]) < 0 {
		return p.tsv(data[start:], start, c)
	}
	lineByLine := false
	for i := start; i < len(data); {
		end := len(data)
		if n := bytes.IndexByte(data[i:], '\n'); n >= 0 {
			end = i + n
		}
		if p.guess(data[i:end], i, c) {
			i = jsonscan.Blank(data, end)
			continue
		}
		// A value may go over several lines. Where that is not so, it is one value per line from there on: to look
		// for the end of each as far as the text goes would take too long.
		within := data
		if lineByLine {
			within = data[:end]
		}
		next, reason := -1, ""
		if begins(data[i:end]) {
			next, reason = p.value(within, i, c)
		}
		if next < 0 {
			lineByLine = true
			next, reason = rubbish(data, end), flawOf(data[i:end])
		}
		if p.broken {
			lineByLine, p.broken = true, false
		}
		piece := data[i:next]
		next = jsonscan.Blank(data, next)
		if reason != "" {
			if i == start && next == len(data) {
				return reason
			}
			p.bad(reason, piece, c.at(i, i+len(piece)))
		}
		i = next
	}
	return ""
}

// begins tells whether a text begins like a value that may hold records: an object, an array, or a text that begins so
// or with an escape.
func begins(text []byte) bool {
	c := text[0]
	if c == '"' && len(text) > 1 {
		c = text[1]
	}
	return c == '{' || c == '[' || c == '\\' || c == ' '
}

// rubbish gives the end of what is bad from a line on that ends at end: lines that do not begin like a value belong to
// it, so that binary data, or an object that is broken and spread over lines, is bad once.
func rubbish(data []byte, end int) int {
	for {
		i := jsonscan.Blank(data, end)
		if i == len(data) || begins(data[i:]) {
			return end
		}
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return len(data)
		}
		end = i + n
	}
}

// at gives c with begin and end, which are places in the text, if they are not fixed yet.
func (c around) at(begin, end int) around {
	if !c.fixed {
		c.begin, c.end, c.fixed = c.offset+begin, c.offset+end, true
	}
	return c
}

// flawOf gives the reason of a text that is no JSON.
func flawOf(text []byte) string {
	if jsonscan.Check(text) == jsonscan.TooDeep {
		return ReasonDepth
	}
	return ReasonJSON
}

// tsv takes lines of TSV, which begin at place start of the text.
func (p *Peeler) tsv(data []byte, start int, c around) string {
	if p.here.Form != consumer.FormZeekTSV {
		first, _, _ := bytes.Cut(data, []byte{'\n'})
		if form, ok := recognise.Recognise(first); !ok || form != consumer.FormZeekTSV {
			return ReasonJSON
		}
	}
	for i := 0; i < len(data); {
		end := len(data)
		if n := bytes.IndexByte(data[i:], '\n'); n >= 0 {
			end = i + n
		}
		if jsonscan.Blank(data[:end], i) < end {
			p.emit(data[i:end], consumer.FormZeekTSV, c.at(start+i, start+end))
		}
		i = end + 1
	}
	return ""
}

// value takes the value that begins at i, and gives the place behind it; below 0 if it is no JSON.
func (p *Peeler) value(data []byte, i int, c around) (end int, reason string) {
	switch data[i] {
	case '{':
		return p.object(data, i, c)
	case '[':
		return p.array(data, i, c)
	}
	if end = jsonscan.Skip(data, i, 0); end < 0 {
		return end, ""
	}
	c = c.at(i, end)
	if data[i] == '"' {
		return end, p.quoted(data[i:end], c)
	}
	return end, ReasonUnknown
}

// quoted takes a JSON string whose text holds records.
func (p *Peeler) quoted(value []byte, c around) string {
	if c.layer++; c.layer > MaxLayers {
		return ReasonLayers
	}
	text := value[1 : len(value)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		buf := &p.texts[c.layer]
		*buf = jsonscan.Unescape((*buf)[:0], text)
		text = *buf
	}
	return p.within(text, c)
}

// within takes a text in which a record has to be.
func (p *Peeler) within(text []byte, c around) string {
	before := p.lines
	if reason := p.text(text, c); reason != "" || p.lines > before {
		return reason
	}
	return ReasonUnknown
}

// array takes the array that begins at i.
func (p *Peeler) array(data []byte, i int, c around) (end int, reason string) {
	if c.layer++; c.layer > MaxLayers {
		if end = jsonscan.Skip(data, i, 0); end < 0 {
			return end, ""
		}
		return end, ReasonLayers
	}
	before := p.lines
	for first := true; ; first = false {
		i = jsonscan.Blank(data, i+1) // behind the bracket or comma
		if first && i < len(data) && data[i] == ']' {
			return i + 1, ""
		}
		if end = -1; i < len(data) {
			end, reason = p.value(data, i, c)
		}
		switch {
		case p.broken:
			return end, ""
		case end >= 0:
			if reason != "" {
				p.bad(reason, data[i:end], c.at(i, end))
			}
			i = jsonscan.Blank(data, end)
			if i < len(data) && data[i] == ',' {
				continue
			}
			if i < len(data) && data[i] == ']' {
				return i + 1, ""
			}
		case p.lines == before:
			return -1, ""
		}
		// The records before this place are told already. The line that goes on here is bad; the next may be good.
		end = len(data)
		if n := bytes.IndexByte(data[i:], '\n'); n >= 0 {
			end = i + n
		}
		p.bad(flawOf(data[i:end]), data[i:end], c.at(i, end))
		p.broken = true
		return end, ""
	}
}

// emit hands over a record.
func (p *Peeler) emit(data []byte, form consumer.Form, c around) {
	p.set(data, form, &c)
	p.lines++
	p.yield(&p.line)
}

// set makes the line to be handed over.
func (p *Peeler) set(data []byte, form consumer.Form, c *around) {
	l := &p.line
	l.Data, l.Form, l.Log, l.Forced, l.Sensor, l.Kind = data, form, c.log, false, c.sensor, c.kind
	l.Begin, l.End, l.Guess, l.Bad = c.begin, c.end, false, ""
	if p.here.Form != consumer.FormUnknown {
		l.Form = p.here.Form
	}
	if p.here.Log != "" {
		l.Log, l.Forced = p.here.Log, true
	}
}

// bad tells of a part that is no record.
func (p *Peeler) bad(reason string, data []byte, c around) {
	p.lines++
	p.bads++
	switch {
	case p.bads <= MaxBad:
		p.line = Line{Data: data, Bad: reason, Kind: c.kind, Begin: c.begin, End: c.end}
		p.yield(&p.line)
	case p.bads == MaxBad+1:
		// The data may be gone when it is told.
		data = bytes.Clone(data[:min(len(data), consumer.MaxSample)])
		p.more = Line{Data: data, Bad: ReasonMany, Kind: c.kind, Begin: c.begin, End: c.end}
	}
}
