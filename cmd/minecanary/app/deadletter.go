package app

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/enrich/elasticsearch"
)

// sampleBad is how many bad lines of one file and reason are told of one by one.
const sampleBad = 3

// badLines tells people of bad lines, sampled, and writes every one of them to the dead-letter file.
type badLines struct {
	stderr io.Writer
	file   *os.File
	told   map[[2]string]int
	mu     sync.Mutex // of the file
}

// deadLetter is a line of the dead-letter file.
type deadLetter struct {
	File   string `json:"file"` // or topic/partition
	Line   int64  `json:"line,omitempty"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
	// Data is the line if it is UTF-8, Raw (base64) if not; neither if it was too long to keep.
	Data string `json:"data,omitempty"`
	Raw  []byte `json:"raw,omitempty"`
}

// newBadLines opens the dead-letter file if a name is given; it appends.
func newBadLines(stderr io.Writer, name string) (*badLines, error) {
	b := &badLines{stderr: stderr, told: map[[2]string]int{}}
	if name == "" {
		return b, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the dead-letter file: %w", err)
	}
	b.file = f
	return b, nil
}

func (b *badLines) take(bad decode.Bad) error {
	key := [2]string{bad.Name, bad.Reason}
	switch n := b.told[key]; {
	case n < sampleBad:
		if bad.Topic != "" {
			say(b.stderr, "%s offset %d: bad message: %s", bad.Name, bad.Offset, bad.Reason)
		} else {
			say(b.stderr, "%s:%d: bad line: %s", bad.Name, bad.Line, bad.Reason)
		}
		b.told[key]++
	case n == sampleBad:
		say(b.stderr, "%s: further bad lines (%s) are only counted", bad.Name, bad.Reason)
		b.told[key]++
	}
	if b.file == nil {
		return nil
	}
	return b.write(deadLetter{File: bad.Name, Line: bad.Line, Offset: bad.Offset, Reason: bad.Reason}, bad.Data)
}

// document keeps a document that Elasticsearch refused, where no topic is there for it.
func (b *badLines) document(d elasticsearch.Dead) error {
	if b.file == nil {
		return nil
	}
	return b.write(deadLetter{File: d.Index + "/" + d.ID, Reason: "elasticsearch_refused: " + d.Reason}, d.Document)
}

func (b *badLines) write(d deadLetter, data []byte) error {
	if utf8.Valid(data) {
		d.Data = string(data)
	} else {
		d.Raw = data
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = b.file.Write(append(line, '\n'))
	return err
}

func (b *badLines) close() error {
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}
